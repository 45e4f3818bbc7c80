"""rerank-gateway check"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import date
from typing import Any

from gateway.cli import capabilities, live
from gateway.cli.model_ends import retirement_warnings
from gateway.cli.table import table
from gateway.config import exposure
from gateway.config.loader import read_config
from gateway.config.providers import capability_corrections
from gateway.config.root import Config
from gateway.routing import kinds
from gateway.runtime import accounting
from providers.capabilities import resolve


def add_to(commands: Any, path: str | None) -> None:
    """The grammar of the command."""
    command: ArgumentParser = commands.add_parser(
        "check",
        help="validate a configuration and show what it means",
        description="Validate a whole configuration. Prints every problem with its YAML path and exits with 1, "
        "or prints what the configuration means.",
    )
    command.add_argument("file", metavar="FILE", nargs="?", default=path, help="YAML configuration")
    command.add_argument(
        "--live",
        action="store_true",
        help="also ask every configured target once, and exit with 1 if one fails or ranks a wrong document first",
    )
    command.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    """Print what the configuration means. Raises ConfigError."""
    config = read_config(chosen.file)
    exposure.check_listeners(config.server, config.auth)
    print(f"{chosen.file or 'the default configuration'} is valid\n")
    print(_providers(config))
    if config.providers:
        print("\n" + _capabilities(config))
    if config.models:
        print("\n" + _models(config))
    server = config.server
    print(f"\nlistens on {server.host}:{server.port} with {server.workers} worker{'s' if server.workers > 1 else ''}")
    if advice := accounting.multi_worker_warning(config):
        print(f"warning: {advice}")
    for sentence in retirement_warnings(config, date.today()):
        print(f"warning: {sentence}")
    return _ask_targets(config) if chosen.live else 0


def _ask_targets(config: Config) -> int:
    print()
    return live.run(config)


def _providers(config: Config) -> str:
    rows = [_provider(config, name) for name in config.providers]
    return table(["PROVIDER", "ADAPTER", "URL OR MODELS", "KEY", "TIMEOUT"], rows)


def _provider(config: Config, name: str) -> list[str]:
    kind = kinds.configure(config, name)
    description = kind.describe()
    return [name, kind.provider.name, description.where, description.key, description.timeout]


def _capabilities(config: Config) -> str:
    """What is known of each provider's models in general, and of each model that the configuration names."""
    targets = [entry.target for model in config.models.values() for entry in model.all_targets]
    local = [f"{name}/{model}" for name, settings in config.providers.items() for model in settings.models or {}]
    paths = sorted({*targets, *local, *(f"{name}/*" for name in config.providers)})
    return table(["TARGET", *capabilities.TITLES], [[path, *_capability_cells(config, path)] for path in paths])


def _capability_cells(config: Config, path: str) -> list[str]:
    name, _, model = path.partition("/")
    adapter = kinds.configure(config, name).provider
    return capabilities.cells(resolve(model, adapter.capabilities, capability_corrections(config.providers[name])))


def _models(config: Config) -> str:
    rows = [
        [name, ", ".join(entry.target for entry in model.all_targets), ", ".join(model.fallbacks) or "none"]
        for name, model in config.models.items()
    ]
    return table(["MODEL", "TARGET", "FALLBACKS"], rows)
