"""In which order the targets of a route are tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import log, log1p
from sys import float_info
from typing import Literal

from msgspec import Struct
from pydantic import Field

from gateway.policy.clock import CLOCK, Clock
from gateway.policy.fallback import Step
from gateway.policy.latency import LatencyStats
from gateway.settings import Settings

Strategy = Literal["ordered", "weighted", "sticky", "least_latency"]


class TargetSettings(Settings):
    """One target of a model."""

    target: str = Field(description="`provider/model`.")
    weight: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        description="Share of the calls, relative to the other weights; for the strategies `weighted` and `sticky`.",
    )


class Candidate(Struct, frozen=True):
    """A target that a route can choose.

    Attributes:
        step: what to call.
        weight: its share of the calls, relative to the other candidates; for `weighted` and `sticky`.
        latency: for `least_latency`.
        path: its `provider/model`; "" if it has none.
    """

    step: Step
    weight: float
    latency: LatencyStats
    path: str = ""


Order = Callable[[str], Sequence[Candidate]]
"""Gives the candidates of one request in the order to try them. Its argument is the name of the caller's key."""


def selection_policy(strategy: Strategy, candidates: Sequence[Candidate], clock: Clock = CLOCK) -> Order:
    """A function that gives all candidates in the order to try them, anew for each request of a caller."""
    if strategy == "ordered" or len(candidates) == 1:
        return lambda _: candidates
    if strategy == "weighted":
        return lambda _: weighted(candidates, clock.chance)
    if strategy == "sticky":
        return lambda caller: sticky(candidates, caller) if caller else weighted(candidates, clock.chance)
    return lambda _: least_latency(candidates, clock.now(), clock.chance)


def weighted(candidates: Sequence[Candidate], chance: Callable[[], float]) -> list[Candidate]:
    """A random order: the first is drawn in proportion to the weights, then the next among the others, and so on.

    Source: Efraimidis and Spirakis, Weighted random sampling with a reservoir, 2006.
    """
    return sorted(candidates, key=lambda candidate: _arrival(candidate.weight, chance()))


def sticky(candidates: Sequence[Candidate], caller: str) -> list[Candidate]:
    """The order that this caller always gets; over many callers, each candidate is first in proportion to its weight.

    A candidate that is added, or whose weight grows, takes callers from the others and moves nobody else.

    Source: weighted rendezvous hashing; Schindelhauer and Schomaker, Weighted distributed hash tables, 2005.
    """
    return sorted(candidates, key=lambda candidate: _arrival(candidate.weight, _fraction(caller, candidate.path)))


def _fraction(caller: str, path: str) -> float:
    """A number from 0 up to, but not including, 1 that is always the same for these two."""
    digest = blake2b(f"{caller}\0{path}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / 2**53


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
