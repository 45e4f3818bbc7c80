"""The section `models`: names that callers may use, and the targets behind each."""

from __future__ import annotations

from typing import Annotated, Any, Self

from msgspec.structs import replace
from pydantic import BeforeValidator, Field, field_validator, model_validator

from gateway.config.limits import MAX_FALLBACKS
from gateway.policy.canary import CanarySettings
from gateway.policy.hedge import HedgeSettings
from gateway.policy.shadow import ShadowSettings
from gateway.policy.strategy import Strategy, TargetSettings
from gateway.settings import Settings
from providers.types import RerankRequest, ScoreScale


class ModelSettings(Settings):
    """A name that callers may use in place of `provider/model`, and the targets behind it."""

    target: str | None = Field(default=None, description="The `provider/model` that serves this name.")
    targets: list[TargetSettings] = Field(default=[], description="Several targets, in place of `target`.")
    strategy: Strategy = Field(default="ordered", description="How the first target is chosen.")
    hedge: HedgeSettings | None = Field(
        default=None, description="Send a slow request to the second target as well, and use the first answer."
    )
    shadow: ShadowSettings | None = Field(
        default=None, description="A candidate that ranks answered requests too, to compare it."
    )
    canary: CanarySettings | None = Field(
        default=None, description="Score fixed texts now and then, to notice that a provider has changed the model."
    )
    fallbacks: list[str] = Field(
        default=[],
        max_length=MAX_FALLBACKS,
        description="What to try, in order, after the targets: `provider/model` or another name.",
    )

    instruction: str | None = Field(
        default=None,
        description="What documents are to be ranked for, in words to the model; a request's own comes first.",
    )
    scores: ScoreScale = Field(
        default="provider",
        description="Scores as the model gives them, or as probabilities; a request's own `scores` come first.",
    )
    min_score: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="Results with a lower score are left out, after `scores`; a request's own `min_score` comes first.",
    )

    @model_validator(mode="after")
    def _has_targets(self) -> Self:
        if (self.target is None) == (not self.targets):
            raise ValueError("set either target or targets")
        return self

    @field_validator("fallbacks")
    @classmethod
    def _names_differ(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("names a fallback twice")
        return value

    @property
    def has_defaults(self) -> bool:
        """Whether it sets what a request may leave out."""
        return self.scores != "provider" or self.min_score is not None or bool(self.instruction)

    def complete(self, request: RerankRequest) -> RerankRequest:
        """The request with what this name sets and the request does not.

        A threshold of this name is for its own kind of scores: a request that asks for another is not cut by it.
        """
        least = self.min_score if request.scores in (None, self.scores) else None
        return replace(
            request,
            instruction=self.instruction if request.instruction is None else request.instruction,
            scores=request.scores or self.scores,
            min_score=least if request.min_score is None else request.min_score,
        )

    @property
    def all_targets(self) -> list[TargetSettings]:
        """The targets, whether written as `target` or as `targets`."""
        return self.targets or [TargetSettings(target=self.target or "")]


def _spelled_out(value: Any) -> Any:
    if isinstance(value, str):
        return {"target": value}
    if not isinstance(value, dict | ModelSettings):
        raise ValueError("must be a `provider/model`, or a mapping with `target` or `targets`")
    return value


ModelSection = Annotated[ModelSettings, BeforeValidator(_spelled_out, json_schema_input_type=ModelSettings | str)]
"""One name: a mapping, or its only target in short."""
