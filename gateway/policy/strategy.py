"""In which order the targets of a route are tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log, log1p
from sys import float_info
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
    """A target that a route can choose.

    Attributes:
        step: what to call.
        weight: its share of the calls, relative to the other candidates; for `weighted`.
        latency: for `least_latency`.
        path: its `provider/model`; "" if it has none.
    """

    step: Step
    weight: float
    latency: LatencyStats
    path: str = ""


Order = Callable[[], Sequence[Candidate]]


def selection_policy(strategy: Strategy, candidates: Sequence[Candidate], clock: Clock = CLOCK) -> Order:
    """A function that gives all candidates in the order to try them, anew for each request."""
    if strategy == "ordered" or len(candidates) == 1:
        return lambda: candidates
    if strategy == "weighted":
        return lambda: weighted(candidates, clock.chance)
    return lambda: least_latency(candidates, clock.now(), clock.chance)


def weighted(candidates: Sequence[Candidate], chance: Callable[[], float]) -> list[Candidate]:
    """A random order: the first is drawn in proportion to the weights, then the next among the others, and so on.

    Source: Efraimidis and Spirakis, Weighted random sampling with a reservoir, 2006.
    """
    return sorted(candidates, key=lambda candidate: _arrival(candidate.weight, chance()))


def _arrival(weight: float, chance: float) -> float:
    """The logarithm of when a Poisson process of that rate first arrives; as a power it would underflow."""
    return log(-log1p(-chance) or float_info.min) - log(weight)


def least_latency(candidates: Sequence[Candidate], now: float, chance: Callable[[], float]) -> list[Candidate]:
    """The faster of two drawn at random, then the others, fastest first.

    Source: Mitzenmacher, The power of two candidates in randomized load balancing, 2001.
    """
    order = sorted(candidates, key=lambda candidate: candidate.latency.load_score(now))
    first = int(chance() * len(order))
    second = (first + 1 + int(chance() * (len(order) - 1))) % len(order)
    best = order.pop(min(first, second))
    return [best, *order]
