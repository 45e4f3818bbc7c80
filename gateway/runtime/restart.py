"""What a running gateway cannot change: where it listens, where it counts, what it reports and to whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.config.root import Config
from gateway.settings import Settings

SECTIONS = ("server", "store", "telemetry")
"""They are read at the start: sockets are bound, counts are held, exporters run."""


def keep(config: Config, current: Config) -> Config:
    """The configuration with these sections as they are in force."""
    return config.model_copy(update={name: getattr(current, name) for name in SECTIONS})


def settings_to_restart_for(before: Config, after: Config) -> list[str]:
    """The paths of the settings of these sections that differ."""
    return [path for name in SECTIONS for path in _differences(name, getattr(before, name), getattr(after, name))]


def _differences(path: str, before: Any, after: Any) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, Settings) and isinstance(after, type(before)):
        for name in type(before).model_fields:
            yield from _differences(f"{path}.{name}", getattr(before, name), getattr(after, name))
    else:
        yield path
