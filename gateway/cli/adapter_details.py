"""All that an adapter declares, for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from inspect import cleandoc

import msgspec
from msgspec import Struct
from rich.cells import cell_len

from gateway.cli import capabilities
from gateway.cli.table import table
from gateway.cli.terminal import one_line, pad
from gateway.routing.kinds import kind_of
from providers import registry
from providers.retirements import RETIREMENTS, Retirement
from providers.spec import Bearer, Header, HttpProvider, Options, Provider


def details(adapter: Provider, today: date, retirements: Sequence[Retirement] = RETIREMENTS) -> str:
    """Everything about one adapter: where it is, what it takes, what is known of its models, and since when.

    Args:
        adapter: as the registry finds it.
        today: decides which retirements are past.
        retirements: those that are known.
    """
    facts = [("adapter", adapter.name), ("address", address(adapter)), *_http_facts(adapter)]
    facts += [("optional fields", ", ".join(sorted(adapter.fields)) or "none")]
    facts += [("needs", adapter.missing() or "nothing that is not installed")]
    facts += [("source", registry.source_of(adapter.name) or "this project")]
    width = max(cell_len(name) for name, _ in facts) + 2
    parts = ["\n".join(pad(name, width) + one_line(fact) for name, fact in facts)]
    parts.append(table(["MODELS", *capabilities.TITLES], capabilities.declared(adapter)))
    ends = [entry for entry in retirements if adapter.name in entry.adapters]
    if ends:
        parts.append("\n".join(entry.sentence(model, today) for entry in ends for model in entry.models))
    return "\n\n".join(parts)


def address(adapter: Provider) -> str:
    """Where the adapter asks, with `…` for the server that the operator names and MODEL for a model in the path."""
    if not isinstance(adapter, HttpProvider):
        return kind_of(adapter).default_address(adapter)
    path = adapter.path if isinstance(adapter.path, str) else adapter.path("MODEL")
    return f"{adapter.base_url or '…'}{path}"


def _http_facts(adapter: Provider) -> list[tuple[str, str]]:
    if not isinstance(adapter, HttpProvider):
        return []
    may_lack = isinstance(adapter.auth, Bearer | Header) and not adapter.key_required
    need = "; may be left out" if may_lack else ""
    return [
        ("key variable", adapter.api_key_env or "none is usual"),
        ("key", _way_of(adapter.auth) + need),
        ("options", _options(adapter.options)),
        ("score API", adapter.score.path if adapter.score else "none; one query for all documents"),
    ]


def _way_of(auth: Struct) -> str:
    if isinstance(auth, Header):
        return f"sent as `{auth.name}: {auth.scheme} …`" if auth.scheme else f"sent as `{auth.name}: …`"
    way = cleandoc(type(auth).__doc__ or "").partition(".")[0].removeprefix("The key is ")
    return way[:1].lower() + way[1:]


def _options(options: Options | None) -> str:
    if options is None:
        return "none"
    fields = msgspec.structs.fields(options.shape)
    return ", ".join(f"{field.encode_name}{' (required)' if field.required else ''}" for field in fields)
