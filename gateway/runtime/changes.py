"""What a reload has changed, in a few words: `+1 model, -1 provider, changed: deadline`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.config.root import Config


def describe_changes(old: Config, new: Config) -> str:
    """What differs, as counts of providers and models and as names of other sections. No names that people chose."""
    counts = [
        *_counts("model", _models(old), _models(new)),
        *_counts("provider", _without_models(old), _without_models(new)),
    ]
    sections = [
        name
        for name in Config.model_fields
        if name not in ("models", "providers") and getattr(old, name) != getattr(new, name)
    ]
    parts = [*counts, *([f"changed: {', '.join(sections)}"] if sections else [])]
    return ", ".join(parts) or "nothing changed"


def _counts(noun: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    added, removed = len(new.keys() - old.keys()), len(old.keys() - new.keys())
    changed = sum(old[name] != new[name] for name in old.keys() & new.keys())
    for sign, count in (("+", added), ("-", removed), ("~", changed)):
        if count:
            yield f"{sign}{count} {noun}{'' if count == 1 else 's'}"


def _models(config: Config) -> dict[str, Any]:
    """The names of the configuration, and the local models."""
    local = {
        f"{name}/{model}": settings
        for name, provider in config.providers.items()
        for model, settings in (provider.models or {}).items()
    }
    return {**config.models, **local}


def _without_models(config: Config) -> dict[str, Any]:
    return {name: provider.model_copy(update={"models": None}) for name, provider in config.providers.items()}
