"""What a configuration is: typed, frozen sections, each with its keys, their defaults and their meaning."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from gateway.access.keys import AuthConfig
from gateway.access.limits import RateLimitsConfig
from gateway.access.prices import Price
from gateway.access.store_settings import StoreConfig
from gateway.config.limits import RequestLimitsSettings
from gateway.config.models import ModelConfig
from gateway.config.providers import (
    ProviderConfig,
)
from gateway.config.server import ServerConfig
from gateway.policy.deadline import DeadlineSettings
from gateway.settings import Settings
from gateway.telemetry.settings import TelemetrySettings
from providers import registry
from providers.spec import Provider

Name = Annotated[str, Field(min_length=1)]


def _empty_if_null(value: object) -> object:
    """`cohere:` with nothing behind it is an entry without settings."""
    return {} if value is None else value


EmptyIfNull = BeforeValidator(_empty_if_null)


class Config(Settings):
    """The whole configuration."""

    auth: AuthConfig | None = Field(default=None, description="Who may call; without it, only this machine may.")
    server: Annotated[ServerConfig, EmptyIfNull] = ServerConfig()
    deadline: DeadlineSettings = Field(default=DeadlineSettings(), description="How long a whole call may take.")
    request_limits: RequestLimitsSettings = Field(
        default=RequestLimitsSettings(), description="How large requests and answers may be."
    )
    providers: Annotated[dict[Name, Annotated[ProviderConfig, EmptyIfNull]], EmptyIfNull] = Field(
        default={}, description="The name is what callers write before the first /."
    )
    models: Annotated[dict[Name, ModelConfig], EmptyIfNull] = Field(
        default={}, description="Names that callers may use instead of provider/model."
    )
    default_model: Name | None = Field(
        default=None,
        description="What serves requests of dialects without a model (TEI); unset, the only name if there is one.",
    )
    telemetry: TelemetrySettings = Field(default=TelemetrySettings(), description="Traces, metrics and logs.")

    rate_limits: RateLimitsConfig | None = Field(default=None, description="What all callers together may take.")
    prices: dict[Name, Price] = Field(
        default={}, description="Prices by provider/model, over those that come along; `*` stands for any characters."
    )
    store: StoreConfig | None = Field(
        default=None, description="Where limits, budgets and usage are counted; default is each process for itself."
    )

    def paths(self, name: str) -> list[str]:
        """The `provider/model` of each target that a name leads to."""
        model = self.models.get(name)
        return [entry.target for entry in model.all_targets] if model else [name]

    def adapter(self, name: str) -> Provider:
        """The adapter of the provider of that name. Raises LookupError if there is none."""
        return registry.find(self.providers[name].adapter or name)
