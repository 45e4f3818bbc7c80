"""The section `models`: names that callers may use, and the targets behind each."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Self

from msgspec.structs import replace
from pydantic import BeforeValidator, Field, field_validator, model_validator

from gateway.config.limits import MAX_FALLBACKS, MAX_MEMBERS
from gateway.policy.canary import CanarySettings
from gateway.policy.cascade import StageSettings
from gateway.policy.fusion_methods import FusionMethod
from gateway.policy.hedge import HedgeSettings
from gateway.policy.shadow import ShadowSettings
from gateway.policy.strategy import Strategy, TargetSettings
from gateway.settings import Settings
from providers.types import RerankRequest, ScoreScale


class ModelSettings(Settings):
    """A name that callers may use in place of `provider/model`, and the targets behind it."""

    target: str | None = Field(default=None, description="The `provider/model` that serves this name.")
    targets: list[TargetSettings] = Field(default=[], description="Several targets, in place of `target`.")
    fuse: list[str] = Field(
        default=[],
        max_length=MAX_MEMBERS,
        description="Models, in place of `target`, that all rank at once, and whose rankings become one: "
        "`provider/model` or another name.",
    )
    method: FusionMethod = Field(default="rrf", description="How the rankings of `fuse` become one.")
    weights: list[Annotated[float, Field(gt=0, le=1000)]] = Field(
        default=[], description="The weight of each model of `fuse`, in their order; default is 1 for each."
    )
    require: int | None = Field(
        default=None, ge=1, description="How many models of `fuse` must have ranked; default is all."
    )
    cascade: list[StageSettings] = Field(
        default=[],
        max_length=MAX_MEMBERS,
        description="Models, in place of `target`, each of which ranks what the one before has kept.",
    )
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
        given = [self.target is not None, bool(self.targets), bool(self.fuse), bool(self.cascade)]
        if given.count(True) != 1:
            raise ValueError("set one of target, targets, fuse and cascade")
        if self.members and (self.strategy != "ordered" or self.hedge is not None):
            raise ValueError("strategy and hedge are for targets; set them for the models that this one is made of")
        return self

    @model_validator(mode="after")
    def _can_fuse(self) -> Self:
        if not self.fuse:
            if self.weights or self.require is not None or self.method != "rrf":
                raise ValueError("method, weights and require are for fuse")
            return self
        if len(self.fuse) < 2 or len(set(self.fuse)) < len(self.fuse):
            raise ValueError("fuse must name at least two models, none twice")
        if self.weights and len(self.weights) != len(self.fuse):
            raise ValueError(f"weights must have one number for each of the {len(self.fuse)} models of fuse")
        if self.require is not None and self.require > len(self.fuse):
            raise ValueError(f"require is {self.require}, but fuse has only {len(self.fuse)} models")
        return self

    @field_validator("cascade")
    @classmethod
    def _narrows(cls, value: list[StageSettings]) -> list[StageSettings]:
        if len(value) == 1:
            raise ValueError("needs at least two stages")
        if any(stage.keep is None for stage in value[:-1]):
            raise ValueError("every stage but the last needs keep")
        keeps = [stage.keep for stage in value if stage.keep is not None]
        if any(after > before for before, after in pairwise(keeps)):
            raise ValueError("no stage can keep more than the one before it")
        return value

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
        """The targets, whether written as `target` or as `targets`; none of a model that is made of others."""
        return self.targets or ([TargetSettings(target=self.target)] if self.target is not None else [])

    @property
    def members(self) -> list[str]:
        """The models that this one is made of, if it is."""
        return self.fuse or [stage.model for stage in self.cascade]

    @property
    def fusion_weights(self) -> list[float]:
        """The weight of each model of `fuse`."""
        return self.weights or [1.0] * len(self.fuse)


def _spelled_out(value: Any) -> Any:
    if isinstance(value, str):
        return {"target": value}
    if not isinstance(value, dict | ModelSettings):
        raise ValueError("must be a `provider/model`, or a mapping with `target`, `targets`, `fuse` or `cascade`")
    return value


ModelSection = Annotated[ModelSettings, BeforeValidator(_spelled_out, json_schema_input_type=ModelSettings | str)]
"""One name: a mapping, or its only target in short."""
