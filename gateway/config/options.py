"""The settings of an adapter's own, under `options` of a provider: checked by the shape that the adapter declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from gateway.config.providers import ProviderSettings
from gateway.suggestions import did_you_mean
from providers.spec import HttpProvider, Options


def check(provider: HttpProvider, settings: ProviderSettings) -> list[tuple[str, str]]:
    """What is wrong with a provider's options: where, from the provider's section on, and a sentence."""
    values = settings.options
    if provider.options is None:
        return [(".options", f"{provider.name} has no options")] if values else []
    problems = list(_check_fields(provider.options, values))
    if not problems:
        try:
            apply(provider, values)
        except ValueError as error:
            problems.append((".options", str(error)))
    return problems


def apply(provider: HttpProvider, values: Mapping[str, Any]) -> HttpProvider:
    """The adapter with these options in force. Raises ValueError where `check` finds a problem."""
    if provider.options is None:
        return provider
    return provider.options.apply(_convert(dict(values), provider.options.shape))


def _check_fields(options: Options, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(options.shape)}
    for name in values:
        if name not in fields:
            yield f".options.{name}", "unknown key" + did_you_mean(name, list(fields))
    for name, field in fields.items():
        if name not in values:
            if field.required:
                yield f".options.{name}", "is required"
            continue
        try:
            _convert(values[name], field.type)
        except msgspec.ValidationError as error:
            yield f".options.{name}", str(error)


def _convert(value: Any, shape: Any) -> Any:
    """Not strict, as elsewhere in the configuration: what comes from an environment variable is text."""
    return msgspec.convert(value, shape, strict=False)
