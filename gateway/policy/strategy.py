"""In which order a route's targets are tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct
from pydantic import Field

from gateway.policy.clock import CLOCK, Clock
from gateway.policy.fallback import Step
from gateway.policy.latency import LatencyStats
from gateway.settings import Settings

Strategy = Literal["ordered", "weighted", "least_latency"]


class TargetSettings(Settings):
    """One target of a model."""

    target: str = Field(description="`provider/model`.")
    weight: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        description="Share of the calls, relative to the other weights; for the strategy `weighted`.",
    )


class Candidate(Struct, frozen=True):
    """A target that a route can choose."""

    step: Step
    weight: float
    latency: LatencyStats


Order = Callable[[], Sequence[Candidate]]


def selection_policy(strategy: Strategy, choices: Sequence[Candidate], clock: Clock = CLOCK) -> Order:
    """What gives, for each request anew, all choices in the order to try them."""
    if strategy == "ordered" or len(choices) == 1:
        return lambda: choices
    if strategy == "weighted":
        return lambda: weighted(choices, clock.chance)
    return lambda: least_latency(choices, clock.now(), clock.chance)


def weighted(choices: Sequence[Candidate], chance: Callable[[], float]) -> list[Candidate]:
    """A random order in which each choice comes first in proportion to its weight, and so on among the others.

    Source: Efraimidis and Spirakis, Weighted random sampling with a reservoir, 2006.
    """
    return sorted(choices, key=lambda choice: -((1.0 - chance()) ** (1.0 / choice.weight)))


def least_latency(choices: Sequence[Candidate], now: float, chance: Callable[[], float]) -> list[Candidate]:
    """The faster of two picked at random, then the others, fastest first.

    Source: Mitzenmacher, The power of two choices in randomized load balancing, 2001.
    """
    order = sorted(choices, key=lambda choice: choice.latency.load_score(now))
    first = int(chance() * len(order))
    second = (first + 1 + int(chance() * (len(order) - 1))) % len(order)
    best = order.pop(min(first, second))
    return [best, *order]
