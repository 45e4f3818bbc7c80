"""rerank-gateway serve"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import Any

from gateway.config import exposure
from gateway.config.loader import read_config
from gateway.config.root import Config
from gateway.runtime import accounting
from gateway.server import run as server


def add_to(commands: Any, path: str | None) -> None:
    """The grammar of the command."""
    command: ArgumentParser = commands.add_parser("serve", help="run the gateway", description="Run the gateway.")
    command.add_argument("--config", metavar="FILE", default=path, help="YAML configuration")
    command.add_argument("--host", help="address to listen on, instead of the configuration's")
    command.add_argument("--port", type=_port, help="port to listen on, instead of the configuration's; 0 picks one")
    command.add_argument("--workers", type=_workers, metavar="N", help="processes, instead of the configuration's")
    command.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    """Serve until a signal."""
    config = _overridden(read_config(chosen.config), chosen)
    exposure.check_listeners(config.server, config.auth)
    if advice := accounting.multi_worker_warning(config):
        print(f"warning: {advice}", file=sys.stderr)
    return server.serve(config, chosen.config)


def _overridden(config: Config, chosen: Namespace) -> Config:
    given = {name: getattr(chosen, name) for name in ("host", "port", "workers") if getattr(chosen, name) is not None}
    return config.model_copy(update={"server": config.server.model_copy(update=given)})


def _port(text: str) -> int:
    return _between(text, 0, 65535)


def _workers(text: str) -> int:
    return _between(text, 1, 256)


def _between(text: str, low: int, high: int) -> int:
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ArgumentTypeError(f'"{text}" is not a number from {low} to {high}')
    return int(text)
