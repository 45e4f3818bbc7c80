"""rerank-gateway check"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from gateway.cli.table import table
from gateway.config import exposure
from gateway.config.loader import read_config
from gateway.config.providers import ProviderSettings
from gateway.config.root import Config
from gateway.routing.endpoints import url_of
from gateway.runtime import accounting
from providers.spec import HttpProvider, PureProvider


def add_to(commands: Any, path: str | None) -> None:
    """The grammar of the command."""
    command: ArgumentParser = commands.add_parser(
        "check",
        help="validate a configuration and show what it means",
        description="Validate a whole configuration. Prints every problem with its YAML path and exits with 1, "
        "or prints what the configuration means.",
    )
    command.add_argument("file", metavar="FILE", nargs="?", default=path, help="YAML configuration")
    command.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    """Print what the configuration means. Raises ConfigError."""
    config = read_config(chosen.file)
    exposure.check_listeners(config.server, config.auth)
    print(f"{chosen.file or 'the default configuration'} is valid\n")
    print(_providers(config))
    if config.models:
        print("\n" + _models(config))
    server = config.server
    print(f"\nlistens on {server.host}:{server.port} with {server.workers} worker{'s' if server.workers > 1 else ''}")
    if advice := accounting.multi_worker_warning(config):
        print(f"warning: {advice}")
    return 0


def _providers(config: Config) -> str:
    rows = [_provider(config, name, settings) for name, settings in config.providers.items()]
    return table(["PROVIDER", "ADAPTER", "URL OR MODELS", "KEY", "MAX DOCUMENTS", "TIMEOUT"], rows)


def _provider(config: Config, name: str, settings: ProviderSettings) -> list[str]:
    provider = config.adapter(name)
    key = "***" if settings.api_key or settings.api_keys else "none"
    if isinstance(provider, PureProvider):
        return [name, provider.name, "the caller's order", "none", "no limit", "none"]
    if not isinstance(provider, HttpProvider):
        models = ", ".join(f"{model} ({chosen.path})" for model, chosen in (settings.models or {}).items())
        return [name, provider.name, models, "none", "no limit", "none"]
    limit = "no limit" if provider.max_documents is None else str(provider.max_documents)
    return [name, provider.name, url_of(provider, settings), key, limit, f"{settings.timeout:g} s"]


def _models(config: Config) -> str:
    rows = [
        [name, ", ".join(entry.target for entry in model.all_targets), ", ".join(model.fallbacks) or "none"]
        for name, model in config.models.items()
    ]
    return table(["MODEL", "TARGET", "FALLBACKS"], rows)
