"""`rerank-gateway capacity`: what a given traffic takes."""

from __future__ import annotations

import os
import types
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
from pydantic.fields import FieldInfo

from gateway.capacity import costs as cost_table
from gateway.capacity import demand as demands
from gateway.capacity import plan as plans
from gateway.capacity.demand import Demand
from gateway.cli.capacity_report import describe
from gateway.cli.terminal import json_text
from gateway.config import yaml_source
from gateway.config.locations import located
from gateway.errors import ConfigError


def add_to(commands: Any, path: str | None) -> None:
    """Declare the command's arguments: one for each key of a demand."""
    command: ArgumentParser = commands.add_parser(
        "capacity",
        help="say what a given traffic takes: hosts, replicas, calls of the store, money",
        description="Say what a given traffic takes: hosts, replicas, connections, calls of the store, bandwidth and "
        "money, by the measured costs of a request and a simulation of waiting. FILE is YAML with the same keys as the "
        "options (with _ for -); an option overrides the key. Nothing is asked, and nothing is started.",
    )
    command.add_argument("file", metavar="FILE", nargs="?", help="YAML with the same keys as the options")
    command.add_argument("--json", action="store_true", help="print JSON, for programs")
    for name, field in Demand.model_fields.items():
        _add_option(command, name, field)
    command.set_defaults(run=run)


def _add_option(command: ArgumentParser, name: str, field: FieldInfo) -> None:
    choices, is_list = _choices(field.annotation), get_origin(field.annotation) is tuple
    default = field.default if isinstance(field.default, str | int | float) else None
    command.add_argument(
        f"--{name.replace('_', '-')}",
        help=(field.description or "")
        + ("" if default is None else f" Default: {default}.").replace("%", "%%")
        + (" To be given once for each." if is_list else ""),
        choices=choices,
        metavar=None if choices else "VALUE",
        action="append" if is_list else "store",
    )


def _choices(annotation: Any) -> tuple[str, ...] | None:
    """The words that a value may be; None where it may be anything."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (tuple, Union, types.UnionType):
        return next(filter(None, map(_choices, get_args(annotation))), None)
    return None


def run(chosen: Namespace) -> int:
    """Print the plan. Raises ConfigError for a demand that is invalid, or that nothing can meet."""
    options = {name: getattr(chosen, name) for name in Demand.model_fields}
    given = {name: value for name, value in options.items() if value is not None}
    with located(chosen.file):
        demand = demands.parse(_read(chosen.file) | given)
        plan = plans.make(demand, cost_table.shipped())
    print(json_text(msgspec.to_builtins(plan), indent=2) if chosen.json else describe(demand, plan))
    return 0


def _read(file: str | None) -> dict[str, Any]:
    if file is None:
        return {}
    tree, problems = yaml_source.read(Path(file), os.environ)
    if problems:
        raise ConfigError(problems)
    return tree
