"""Warn of targets whose models their vendors have retired or will retire."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from gateway.config.root import Config
from gateway.routing import kinds
from providers.retirements import RETIREMENTS, Retirement, find_retirement


def retirement_warnings(config: Config, today: date, table: Sequence[Retirement] = RETIREMENTS) -> list[str]:
    """A sentence for each target of the configuration whose model ends, or has ended, with the date and the successor.

    Args:
        config: checked.
        today: decides which ends are past.
        table: the ends that are known.
    """
    sentences = []
    for path in configured_targets(config):
        name, _, model = path.partition("/")
        end = find_retirement(kinds.configure(config, name).provider.name, model, table)
        if end is not None:
            sentences.append(f"{name}: {end.sentence(model, today)}")
    return sentences


def configured_targets(config: Config) -> list[str]:
    """Each `provider/model` that the configuration names, once: targets, fallbacks, local models, a default model."""
    models = config.models
    named = [
        path
        for model in models.values()
        for path in (*(each.target for each in model.all_targets), *model.members, *model.fallbacks)
    ]
    local = [f"{name}/{model}" for name, settings in config.providers.items() for model in settings.models or {}]
    default = [config.default_model] if config.default_model else []
    every = dict.fromkeys([*named, *local, *default])
    return [path for path in every if path not in models and path.partition("/")[0] in config.providers]
