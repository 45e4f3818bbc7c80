"""The candidates beside models: what a configuration's `shadow` sections become."""

from __future__ import annotations

from functools import partial

from gateway.config.root import Config
from gateway.policy.shadow import Shadow
from gateway.policy.target_id import TargetId
from gateway.routing.targets import Targets


def open_shadows(config: Config, targets: Targets) -> dict[str, Shadow]:
    """The candidate of each model that has one, by the model's name."""
    return {
        name: Shadow(
            name,
            TargetId.parse(model.shadow.target),
            targets.isolated(model.shadow.target),
            model.shadow,
            config.deadline.default,
            partial(targets.is_busy, model.shadow.target),
        )
        for name, model in config.models.items()
        if model.shadow is not None
    }
