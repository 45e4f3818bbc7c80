"""The table of adapters in docs/providers.md, from what the adapters declare."""

from __future__ import annotations

from collections.abc import Callable

from gateway.cli import capabilities
from gateway.cli.adapter_details import address
from providers import registry
from providers.retirements import RETIREMENTS
from providers.spec import HttpProvider


def _providers() -> str:
    """Every adapter behind HTTP: where it is, its usual variable, and the optional fields that it honours."""
    found = map(registry.find, registry.names())
    rows = [_row(provider) for provider in found if isinstance(provider, HttpProvider)]
    return "\n".join(
        ["| adapter | address | key variable | optional fields | source |", "|---|---|---|---|---|", *rows]
    )


def _row(provider: HttpProvider) -> str:
    variable = f"`{provider.api_key_env}`" if provider.api_key_env else "none"
    fields = ", ".join(f"`{field}`" for field in sorted(provider.fields)) or "none"
    source = registry.source_of(provider.name)
    return f"| `{provider.name}` | `{address(provider)}` | {variable} | {fields} | {source} |"


def _capabilities() -> str:
    """What is known of the models of every adapter."""
    found = map(registry.find, registry.names())
    rows = [
        "| " + " | ".join([f"`{model}`", *rest]) + " |"
        for each in found
        for model, *rest in capabilities.declared(each)
    ]
    titles = " | ".join(title.lower() for title in ("models", *capabilities.TITLES))
    return "\n".join([f"| {titles} |", "|---" * (1 + len(capabilities.TITLES)) + "|", *rows])


def _retirements() -> str:
    """The ends of models that are known, by date."""
    rows = []
    for end in sorted(RETIREMENTS, key=lambda end: end.day):
        models = ", ".join(f"`{adapter}/{model}`" for adapter in end.adapters for model in end.models)
        then = "its successor answers" if end.is_silent else "calls fail"
        rows.append(f"| {end.day.isoformat()} | {models} | {end.successor or 'none named'} | {then} | {end.source} |")
    return "\n".join(["| date | model | successor | from then on | source |", "|---|---|---|---|---|", *rows])


PARTS: dict[str, Callable[[], str]] = {
    "providers": _providers,
    "capabilities": _capabilities,
    "retirements": _retirements,
}
