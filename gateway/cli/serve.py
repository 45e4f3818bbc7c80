"""`rerank-gateway serve`: run the gateway."""

from __future__ import annotations

import logging
import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from gateway.cli import config_file
from gateway.config import built_in, exposure
from gateway.config.loader import read_config
from gateway.config.locations import located
from gateway.config.root import Config
from gateway.runtime import accounting
from gateway.server import run as server
from gateway.telemetry import lifecycle, logs

logger = logging.getLogger(__name__)


def add_to(commands: Any, path: str | None) -> None:
    """Declare the command's arguments."""
    command: ArgumentParser = commands.add_parser("serve", help="run the gateway", description="Run the gateway.")
    config_file.add_to(command, path)
    command.add_argument("--host", help="address to listen on; overrides the configuration")
    command.add_argument(
        "--port", type=_port, help="port to listen on; overrides the configuration; 0 picks a free one"
    )
    command.add_argument(
        "--workers", type=_workers, metavar="N", help="number of processes; overrides the configuration"
    )
    command.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Serve until a signal.

    Raises:
        ConfigError: the configuration cannot be used.
        OSError: an address cannot be listened on.
    """
    file = config_file.chosen_file(options)
    config = _with_overrides(read_config(file), options)
    with located(file):
        exposure.check_listeners(config.server, config.auth)
    logs.configure(config.telemetry.logs)
    _tell_started(config, file)
    for problem in config.auth.expired(datetime.now(UTC)) if config.auth else ():
        logger.warning("%s", problem)
    for warning in filter(None, (accounting.multi_worker_warning(config), built_in.advice(config))):
        logger.warning("%s", warning)
    return server.serve(config, file)


def _tell_started(config: Config, path: str | None) -> None:
    number, workers = version("rerank-gateway"), config.server.workers
    message = f"rerank-gateway {number} starts with {path or 'the default configuration'}"
    lifecycle.tell("started", message, version=number, pid=os.getpid(), config=path, workers=workers)


def _with_overrides(config: Config, options: Namespace) -> Config:
    overrides = {
        name: getattr(options, name) for name in ("host", "port", "workers") if getattr(options, name) is not None
    }
    return config.model_copy(update={"server": config.server.model_copy(update=overrides)})


def _port(text: str) -> int:
    return _parse_integer(text, 0, 65535)


def _workers(text: str) -> int:
    return _parse_integer(text, 1, 256)


def _parse_integer(text: str, minimum: int, maximum: int) -> int:
    if not text.isdecimal() or not minimum <= int(text) <= maximum:
        raise ArgumentTypeError(f'"{text}" is not a whole number from {minimum} to {maximum}')
    return int(text)
