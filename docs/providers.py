"""The table of adapters in docs/providers.md, from what the adapters declare."""

from __future__ import annotations

from collections.abc import Callable

from providers import registry
from providers.spec import HttpProvider


def _providers() -> str:
    """Every adapter behind HTTP: where it is, its usual variable, and the optional fields that it honours."""
    found = map(registry.find, registry.names())
    rows = [_row(provider) for provider in found if isinstance(provider, HttpProvider)]
    return "\n".join(["| adapter | address | key variable | optional fields |", "|---|---|---|---|", *rows])


def _row(provider: HttpProvider) -> str:
    path = provider.path if isinstance(provider.path, str) else provider.path("MODEL")
    address = f"`{provider.base_url or '…'}{path}`"
    variable = f"`{provider.api_key_env}`" if provider.api_key_env else ""
    fields = ", ".join(f"`{field}`" for field in sorted(provider.fields))
    return f"| `{provider.name}` | {address} | {variable} | {fields} |"


PARTS: dict[str, Callable[[], str]] = {"providers": _providers}
