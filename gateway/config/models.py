"""The section `models`: names that callers may use, and what they resolve to."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from gateway.policy.hedge import HedgeSettings
from gateway.policy.strategy import Strategy, TargetSettings
from gateway.settings import Settings


class RoutePolicies(Settings):
    """What a name resolves to, and in which order its targets are tried."""

    target: str | None = Field(default=None, description="`provider/model` that serves it.")
    targets: list[TargetSettings] = Field(default=[], description="Several of them, in place of target.")
    strategy: Strategy = Field(default="ordered", description="Which of the targets comes first.")
    hedge: HedgeSettings | None = Field(default=None, description="Ask the next target too when one is slow.")

    @model_validator(mode="after")
    def _has_targets(self) -> Self:
        if (self.target is None) == (not self.targets):
            raise ValueError("needs either target or targets")
        return self

    @property
    def all_targets(self) -> list[TargetSettings]:
        """The targets, however they were written."""
        return self.targets or [TargetSettings(target=self.target or "")]


class ModelConfig(RoutePolicies):
    """A name that callers may use instead of `provider/model`."""

    fallbacks: list[str] = Field(default=[], description="`provider/model` entries or other names, tried in order.")
