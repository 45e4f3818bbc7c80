"""rerank-gateway providers"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from gateway.cli.table import table
from providers import registry
from providers.spec import HttpProvider


def add_to(commands: Any, path: str | None) -> None:
    """The grammar of the command."""
    command: ArgumentParser = commands.add_parser(
        "providers",
        help="list the adapters",
        description="List every adapter, its default address, and the optional request fields that it honours.",
    )
    command.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    """Print the table."""
    print(table(["ADAPTER", "DEFAULT ADDRESS", "KEY VARIABLE", "FIELDS"], [_row(name) for name in registry.names()]))
    return 0


def _row(name: str) -> list[str]:
    provider = registry.find(name)
    fields = ", ".join(sorted(provider.fields))
    if not isinstance(provider, HttpProvider):
        return [name, "in this process", "none", fields]
    return [name, provider.base_url or "set base_url", provider.api_key_env or "none", fields]
