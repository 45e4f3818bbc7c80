"""In which order targets are tried, and how their speed is known."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.clock import Clock
from gateway.policy.fallback import Step
from gateway.policy.latency import LatencyProbe, LatencyStats
from gateway.policy.strategy import Candidate, Strategy, least_latency, selection_policy, weighted


def choice(weight: float = 1.0, *latencies: float) -> Candidate:
    latency = LatencyStats()
    for seconds in latencies:
        latency.observe(seconds, 0.0)
    return Candidate(Step(None), weight, latency)  # type: ignore[arg-type]


@given(
    st.sampled_from(["ordered", "weighted", "least_latency"]),
    st.lists(st.tuples(st.floats(0.01, 1000), st.floats(0, 10)), min_size=1, max_size=8),
    st.integers(0, 2**32),
)
def test_every_order_holds_every_target_once(strategy: Strategy, targets: list[tuple[float, float]], seed: int) -> None:
    choices = [choice(weight, latency) for weight, latency in targets]
    clock = Clock(now=lambda: 1.0, chance=random.Random(seed).random)
    order = selection_policy(strategy, choices, clock)()
    assert sorted(map(id, order)) == sorted(map(id, choices))
    if strategy == "ordered":
        assert list(order) == choices


def test_weighted_comes_first_in_proportion() -> None:
    dice = random.Random(7)
    choices = [choice(1.0), choice(2.0), choice(7.0)]
    first = Counter(choices.index(weighted(choices, dice.random)[0]) for _ in range(10_000))
    assert first[0] == pytest.approx(1000, rel=0.1)
    assert first[1] == pytest.approx(2000, rel=0.1)
    assert first[2] == pytest.approx(7000, rel=0.05)


@given(st.integers(0, 2**32))
def test_the_slowest_of_three_or_more_is_never_first(seed: int) -> None:
    choices = [choice(1.0, 0.1), choice(1.0, 9.0), choice(1.0, 0.2)]
    assert least_latency(choices, 0.0, random.Random(seed).random)[0] is not choices[1]


def test_of_two_the_faster_is_first_until_the_other_is_forgotten() -> None:
    fast, slow = choice(1.0, 0.1), choice(1.0, 1.0)
    dice = random.Random(1).random
    assert least_latency([slow, fast], 0.0, dice)[0] is fast
    fast.latency.observe(0.1, 25.0)
    assert least_latency([slow, fast], 25.0, dice)[0] is slow


def test_one_not_seen_yet_comes_before_those_seen() -> None:
    seen, unseen = choice(1.0, 0.1), choice(1.0)
    assert least_latency([seen, unseen], 0.0, lambda: 0.9)[0] is unseen


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=200))
def test_the_average_stays_within_what_was_seen(latencies: list[float]) -> None:
    latency = LatencyStats()
    for seconds in latencies:
        latency.observe(seconds, 0.0)
    assert min(latencies) * 0.999 <= latency.load_score(0.0) <= max(latencies) * 1.001
    p95 = latency.p95()
    assert (p95 is None) == (len(latencies) < 20)
    assert p95 is None or p95 in latencies


def test_p95() -> None:
    latency = LatencyStats()
    for number in range(1, 101):
        latency.observe(number / 100, 0.0)
    assert latency.p95() == pytest.approx(0.96)


async def test_only_calls_that_went_well_are_observed(time: Any, scripted: Any, request_with: Any) -> None:
    latency = LatencyStats()
    good = scripted([], 0.5, time)
    await LatencyProbe(good, latency, time.clock).rerank(request_with())
    assert latency.load_score(time.now) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="x"):
        await LatencyProbe(scripted([ValueError("x")], 5.0, time), latency, time.clock).rerank(request_with())
    assert latency.load_score(time.now) < 0.5
