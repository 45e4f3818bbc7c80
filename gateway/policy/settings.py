"""The settings of all policies, as sections of the configuration."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from gateway.policy.breaker import BreakerSettings
from gateway.policy.bulkhead import BulkheadSettings
from gateway.policy.health_check import HealthCheckSettings
from gateway.policy.hedge import HedgeSettings
from gateway.policy.keys import Key, KeySettings
from gateway.policy.retry import RetrySettings
from gateway.policy.strategy import Strategy, TargetSettings
from gateway.settings import Settings


class ProviderPolicies(Settings):
    """What guards each target of a provider."""

    api_key: Key | None = Field(default=None, description="The gateway's own key for this provider.")
    api_keys: list[KeySettings] = Field(default=[], description="Several keys, in place of api_key.")
    retry: RetrySettings = Field(default=RetrySettings(), description="When a target is tried again.")
    breaker: BreakerSettings = Field(default=BreakerSettings(), description="When a failing target is left alone.")
    bulkhead: BulkheadSettings = Field(default=BulkheadSettings(), description="How much a target is asked at once.")
    health_check: HealthCheckSettings | None = Field(default=None, description="Ask whether the provider is well.")

    @model_validator(mode="after")
    def _has_one_kind_of_keys(self) -> Self:
        if self.api_key is not None and self.api_keys:
            raise ValueError("give either api_key or api_keys, not both")
        names = [key.name for key in self.api_keys]
        if len(set(names)) < len(names):
            raise ValueError("each of api_keys needs a name of its own")
        return self


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
