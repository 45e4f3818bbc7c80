"""The settings of an adapter's own, under `options` of a provider: checked by the shape that the adapter declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from gateway.config.providers import ProviderSettings
from gateway.suggestions import did_you_mean
from providers.spec import HttpProvider, Options


def problems(provider: HttpProvider, settings: ProviderSettings) -> list[tuple[str, str]]:
    """What is wrong with a provider's options: where, from the provider's section on, and a sentence."""
    given = settings.options
    if provider.options is None:
        return [(".options", f"{provider.name} has no options")] if given else []
    found = list(_misfits(provider.options, given))
    if not found:
        try:
            apply(provider, given)
        except ValueError as error:
            found.append((".options", str(error)))
    return found


def apply(provider: HttpProvider, given: Mapping[str, Any]) -> HttpProvider:
    """The adapter with these options in force. Raises ValueError (msgspec's errors are) for what `problems` tells."""
    if provider.options is None:
        return provider
    return provider.options.apply(msgspec.convert(dict(given), provider.options.shape))


def _misfits(options: Options, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(options.shape)}
    for name in given:
        if name not in fields:
            yield f".options.{name}", "unknown key" + did_you_mean(name, list(fields))
    for name, field in fields.items():
        if name not in given:
            if field.required:
                yield f".options.{name}", "is required"
            continue
        try:
            msgspec.convert(given[name], field.type)
        except msgspec.ValidationError as error:
            yield f".options.{name}", str(error)
