"""rerank-gateway providers"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from gateway.cli import capabilities
from gateway.cli.table import table
from gateway.routing.kinds import kind_of
from providers import registry
from providers.capabilities import resolve
from providers.spec import Provider


def add_to(commands: Any, path: str | None) -> None:
    """The grammar of the command."""
    command: ArgumentParser = commands.add_parser(
        "providers",
        help="list the adapters",
        description="List every adapter, its default address, the optional request fields that it honours, "
        "and what is known of its models.",
    )
    command.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    """Print the table."""
    adapters = [registry.find(name) for name in registry.names()]
    print(table(["ADAPTER", "DEFAULT ADDRESS", "KEY VARIABLE", "FIELDS"], list(map(_row, adapters))))
    print()
    print(table(["MODELS", *capabilities.TITLES], [row for adapter in adapters for row in _models(adapter)]))
    return 0


def _row(adapter: Provider) -> list[str]:
    address = kind_of(adapter).default_address(adapter)
    return [adapter.name, address, adapter.api_key_env or "none", ", ".join(sorted(adapter.fields))]


def _models(adapter: Provider) -> list[list[str]]:
    """What is declared of each pattern, with what it takes from the less specific ones."""
    declared = adapter.capabilities
    return [[f"{adapter.name}/{pattern}", *capabilities.cells(resolve(pattern, declared))] for pattern in declared]
