"""rerank-gateway check"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import date
from typing import Any

from gateway.cli import config_file, live
from gateway.cli.model_ends import retirement_warnings
from gateway.cli.report import describe
from gateway.cli.unmatched import unmatched_warnings
from gateway.config import built_in, exposure
from gateway.config.loader import read_config
from gateway.config.locations import located
from gateway.config.root import Config
from gateway.runtime import accounting


def add_to(commands: Any, path: str | None) -> None:
    """The grammar of the command."""
    command: ArgumentParser = commands.add_parser(
        "check",
        help="validate a configuration and show what it means",
        description="Validate a whole configuration. Prints every problem with its YAML path and exits with 1, "
        "or prints what the configuration means.",
    )
    config_file.add_to(command, path)
    command.add_argument(
        "--live",
        action="store_true",
        help="also ask every configured target once, and exit with 1 if one fails or ranks a wrong document first",
    )
    command.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    """Print what the configuration means. Raises ConfigError."""
    file = config_file.chosen_file(chosen)
    config = read_config(file)
    with located(file):
        exposure.check_listeners(config.server, config.auth)
        exposure.check_keys_work(config.auth)
    meaning = describe(config)
    print(f"{file or 'the default configuration'} is valid\n\n{meaning}")
    for advice in filter(None, (accounting.multi_worker_warning(config), built_in.advice(config))):
        print(f"warning: {advice}")
    for sentence in (*retirement_warnings(config, date.today()), *unmatched_warnings(config)):
        print(f"warning: {sentence}")
    return _ask_targets(config) if chosen.live else 0


def _ask_targets(config: Config) -> int:
    print()
    return live.run(config)
