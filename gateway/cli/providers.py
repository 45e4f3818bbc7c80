"""rerank-gateway providers"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import date
from typing import Any

from gateway.cli import capabilities
from gateway.cli.adapter_details import details
from gateway.cli.table import table
from gateway.routing.kinds import kind_of
from gateway.suggestions import did_you_mean
from providers import registry
from providers.errors import InvalidRequest
from providers.spec import Provider


def add_to(commands: Any, path: str | None) -> None:
    """The grammar of the command."""
    command: ArgumentParser = commands.add_parser(
        "providers",
        help="list the adapters, or tell all of one",
        description="List every adapter, its default address, the optional request fields that it honours, "
        "and what is known of its models; or tell all of one: also its options, how the key is sent, which of its "
        "models were retired, and where that was read.",
    )
    command.add_argument("name", metavar="NAME", nargs="?", help="tell all of this adapter")
    command.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    """Print the tables, or all of one adapter. Raises InvalidRequest for a name that no adapter has."""
    print(_all() if chosen.name is None else details(_find(chosen.name), date.today()))
    return 0


def _find(name: str) -> Provider:
    try:
        return registry.find(name)
    except LookupError as error:
        known = registry.names()
        if name in known:
            raise InvalidRequest(str(error)) from None
        near = did_you_mean(name, known) or f"; known are {', '.join(known)}"
        raise InvalidRequest(f'unknown adapter "{name}"{near}') from None


def _all() -> str:
    adapters = [registry.find(name) for name in registry.names()]
    first = table(["ADAPTER", "DEFAULT ADDRESS", "KEY VARIABLE", "FIELDS"], list(map(_row, adapters)))
    rows = [row for adapter in adapters for row in capabilities.declared(adapter)]
    return f"{first}\n\n{table(['MODELS', *capabilities.TITLES], rows)}"


def _row(adapter: Provider) -> list[str]:
    address = kind_of(adapter).default_address(adapter)
    return [adapter.name, address, adapter.api_key_env or "none", ", ".join(sorted(adapter.fields))]
