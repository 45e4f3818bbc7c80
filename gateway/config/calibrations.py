"""The section `calibrations`: what makes probabilities of a model's scores, as `rerank-gateway eval` prints it."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from math import exp
from typing import Annotated, Self

from pydantic import Field, model_validator

from gateway.settings import Settings

MAX_STEPS = 1000
"""Steps of an isotonic calibration: many more than anybody has data for."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
Step = tuple[Finite, Annotated[float, Field(ge=0, le=1)]]


def sigmoid(logit: float) -> float:
    """The probability of a logit, for any number: exp never overflows."""
    if logit >= 0:
        return 1 / (1 + exp(-logit))
    odds = exp(logit)
    return odds / (1 + odds)


class PlattSettings(Settings):
    """probability = 1 / (1 + exp(-(slope * score + intercept)))"""

    slope: Finite = Field(gt=0, description="How fast the probability rises with the score; above 0.")
    intercept: Finite = Field(description="The log odds at a score of 0.")


class CalibrationSettings(Settings):
    """What makes probabilities of one model's scores."""

    platt: PlattSettings | None = Field(default=None, description="Platt's calibration, a logistic function.")
    isotonic: list[Step] = Field(
        default=[],
        max_length=MAX_STEPS,
        description="Steps in place of `platt`: `[score, probability]` each; from that score on, that probability.",
    )

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        if (self.platt is None) == (not self.isotonic):
            raise ValueError("set either platt or isotonic")
        if any(after[0] < before[0] or after[1] < before[1] for before, after in pairwise(self.isotonic)):
            raise ValueError("isotonic must have steps in the order of their scores, and probabilities that never fall")
        return self

    def probability(self, score: float) -> float:
        """Of a score. Below the first step it is that step's."""
        if self.platt is not None:
            return sigmoid(self.platt.slope * score + self.platt.intercept)
        position = bisect_right(self.isotonic, score, key=_score_of_step)
        return self.isotonic[max(0, position - 1)][1]


def _score_of_step(step: Step) -> float:
    return step[0]
