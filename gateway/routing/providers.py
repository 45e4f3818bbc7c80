"""Open the providers of a configuration: clients, keys, local models. Nothing is contacted or loaded yet."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.config.root import Config
from gateway.routing import kinds
from gateway.routing.live_provider import LiveProvider


def open_providers(config: Config, previous: Mapping[str, LiveProvider]) -> dict[str, LiveProvider]:
    """Every provider of the configuration; those that have not changed are taken over from `previous` as they are."""
    return {name: _open_provider(config, name, previous.get(name)) for name in config.providers}


def _open_provider(config: Config, name: str, previous: LiveProvider | None) -> LiveProvider:
    settings, answer_bytes = config.providers[name], config.request_limits.answer_bytes
    if previous is not None and previous.settings == settings and previous.answer_bytes == answer_bytes:
        return previous
    return kinds.configure(config, name).open(previous)
