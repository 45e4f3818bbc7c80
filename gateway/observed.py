"""What telemetry needs to know of the configuration and of what lives."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from gateway.config import Config, url_of
from gateway.errors import ConfigError, Problem
from gateway.telemetry.attributes import Peer
from gateway.telemetry.observer import Telemetry
from providers.spec import HttpProvider


def telemetry_of(config: Config) -> Telemetry:
    """The telemetry of a configuration, not opened yet. Raises ConfigError for a variable that means nothing."""
    try:
        return Telemetry(config.telemetry, peers(config), labels(config))
    except ValueError as error:
        raise ConfigError([Problem("", str(error))]) from None


def peers(config: Config) -> dict[str, Peer]:
    """Every configured provider as spans name it."""
    return {name: _peer(config, name) for name in config.providers}


def labels(config: Config) -> Iterator[str]:
    """Every model name that the configuration mentions, as callers and as providers say it."""
    for name, model in config.models.items():
        yield name
        for target in (*(entry.target for entry in model.all_targets), *model.fallbacks):
            yield target
            yield target.partition("/")[2]
    for name, provider in config.providers.items():
        for model_name in provider.models or {}:
            yield model_name
            yield f"{name}/{model_name}"


def _peer(config: Config, name: str) -> Peer:
    provider = config.adapter(name)
    if not isinstance(provider, HttpProvider):
        return Peer(provider.name)
    url = urlsplit(url_of(provider, config.providers[name]))
    return Peer(provider.name, url.hostname, url.port or (443 if url.scheme == "https" else 80))
