"""In which order targets are tried, and how their speed is known."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import AttemptsSpent, BreakerOpen, DeadlineExceeded, KeysCooling
from gateway.policy.clock import Clock
from gateway.policy.fallback import Step
from gateway.policy.latency import LatencyProbe, LatencyStats
from gateway.policy.strategy import Candidate, Strategy, least_latency, selection_policy, sticky, weighted
from providers.errors import (
    AnswerTooLarge,
    BadAnswer,
    CredentialsRejected,
    InvalidRequest,
    LimitExceeded,
    NotReady,
    Overloaded,
    RateLimited,
    Rejected,
    RerankError,
    TargetFailed,
    TargetTimeout,
    Unreachable,
    Unsupported,
)


def choice(weight: float = 1.0, *latencies: float) -> Candidate:
    latency = LatencyStats()
    for seconds in latencies:
        latency.observe(seconds, 0.0)
    return Candidate(Step(None), weight, latency)  # type: ignore[arg-type]


@given(
    st.sampled_from(["ordered", "weighted", "sticky", "least_latency"]),
    st.lists(st.tuples(st.floats(0.01, 1000), st.floats(0, 10)), min_size=1, max_size=8),
    st.integers(0, 2**32),
)
def test_every_order_holds_every_target_once(strategy: Strategy, targets: list[tuple[float, float]], seed: int) -> None:
    choices = [choice(weight, latency) for weight, latency in targets]
    clock = Clock(now=lambda: 1.0, chance=random.Random(seed).random)
    order = selection_policy(strategy, choices, clock)(f"caller {seed % 3}" if seed % 4 else "")
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


@pytest.mark.parametrize(
    "weights", [(0.001, 0.001), (0.001, 0.003), (1e-6, 1e-6), (1e-300, 3e-300), (5e-324, 5e-324), (0.001, 1000.0)]
)
def test_small_weights_do_not_underflow(weights: tuple[float, float]) -> None:
    dice = random.Random(7)
    choices = [choice(weight) for weight in weights]
    first = Counter(choices.index(weighted(choices, dice.random)[0]) for _ in range(10_000))
    assert first[0] == pytest.approx(10_000 * weights[0] / sum(weights), rel=0.1, abs=3)


@pytest.mark.parametrize("chance", [0.0, 1.0 - 2**-53])
def test_the_ends_of_chance_are_no_error(chance: float) -> None:
    assert len(weighted([choice(0.001), choice(5e-324), choice(1000.0)], lambda: chance)) == 3


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


def named(*weights: float) -> list[Candidate]:
    return [Candidate(Step(None), weight, LatencyStats(), f"up/{n}") for n, weight in enumerate(weights)]  # type: ignore[arg-type]


def firsts(candidates: list[Candidate], callers: int = 4_000) -> list[str]:
    return [sticky(candidates, f"team-{number}")[0].path for number in range(callers)]


def test_sticky_comes_first_in_proportion_and_always_the_same() -> None:
    first = firsts(named(1.0, 2.0, 7.0))
    assert first == firsts(named(1.0, 2.0, 7.0))
    shares = Counter(first)
    for path, share in (("up/0", 0.1), ("up/1", 0.2), ("up/2", 0.7)):
        assert shares[path] / len(first) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize(
    ("after", "takes"),
    [
        pytest.param(named(1.0, 1.0, 2.0), "up/2", id="a candidate that is added"),
        pytest.param(named(1.0, 5.0), "up/1", id="a weight that grows"),
    ],
)
def test_sticky_moves_only_those_whom_the_growing_target_takes(after: list[Candidate], takes: str) -> None:
    moved = {new for old, new in zip(firsts(named(1.0, 1.0)), firsts(after), strict=True) if old != new}
    assert moved == {takes}


def test_sticky_callers_without_a_key_are_spread() -> None:
    dice = random.Random(5)
    order = selection_policy("sticky", named(1.0, 1.0), Clock(chance=dice.random))
    assert {order("")[0].path for _ in range(50)} == {"up/0", "up/1"}


def test_p95() -> None:
    latency = LatencyStats()
    for number in range(1, 101):
        latency.observe(number / 100, 0.0)
    assert latency.p95() == pytest.approx(0.96)


REFUSALS = [
    RateLimited("slow down", status=429),
    KeysCooling("all keys rest", status=429, retry_after=9.0),
    CredentialsRejected("no", status=401),
    Rejected("no", status=404),
    Rejected("no", status=422),
    TargetFailed("no", status=503),
    Unreachable("refused"),
    BadAnswer("no ranking"),
    Overloaded("full"),
    NotReady("loading"),
]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: f"{type(error).__name__} {error.status or ''}")
async def test_a_target_that_refuses_at_once_is_not_the_fastest(
    time: Any, scripted: Any, request_with: Any, error: RerankError
) -> None:
    """50 calls, one a second: of two targets the one that refuses is asked now and then, to see whether it is back."""
    refusing, serving = scripted([error]), scripted([], 0.2, time)
    dice = random.Random(3)
    candidates = [probed(refusing, time), probed(serving, time)]
    for _ in range(50):
        time.now += 1.0
        for candidate in least_latency(candidates, time.now, dice.random):
            try:
                await candidate.step.backend.rerank(request_with())
            except RerankError:
                continue
            break
    assert len(refusing.requests) <= 3
    assert len(serving.requests) == 50


async def test_a_target_that_is_well_again_is_preferred_again(time: Any, scripted: Any, request_with: Any) -> None:
    target = probed(scripted([RateLimited("x", status=429), scripted().script[0]], 0.1, time), time)
    with pytest.raises(RateLimited):
        await target.step.backend.rerank(request_with())
    assert target.latency.load_score(time.now) == pytest.approx(5.0)
    time.now += 40
    assert target.latency.load_score(time.now) < 0.1, "tried again"
    await target.step.backend.rerank(request_with())
    assert target.latency.load_score(time.now) < 0.2, "and kept"


@pytest.mark.parametrize(
    "error",
    [
        BreakerOpen("open"),
        AttemptsSpent("no more"),
        Unsupported("text only"),
        LimitExceeded("too many", status=413),
        AnswerTooLarge("more than our limit", status=200),
        InvalidRequest("x"),
        ValueError("x"),
        TargetTimeout("a caller in a hurry"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_says_nothing_about_the_target_changes_nothing(
    time: Any, scripted: Any, request_with: Any, error: Exception
) -> None:
    latency = LatencyStats()
    await LatencyProbe(scripted([], 0.5, time), latency, time.clock).rerank(request_with())
    assert latency.load_score(time.now) == pytest.approx(0.5)
    with pytest.raises(type(error)):
        await LatencyProbe(scripted([error], 0.01, time), latency, time.clock).rerank(request_with())
    assert latency.load_score(time.now) == pytest.approx(0.5, rel=0.03)


WAITED = {
    "in our own queues alone": (TargetTimeout("late", waited=0.0), 0.0),
    "in our own threads": (DeadlineExceeded("late", waited=0.0), 0.0),
    "for the target too": (TargetTimeout("late", waited=2.0), 2.0),
    "for what is not known": (TargetTimeout("late"), 8.0),
}


@pytest.mark.parametrize(("error", "seconds"), WAITED.values(), ids=WAITED)
async def test_a_timeout_counts_as_the_time_that_the_target_had(
    time: Any, scripted: Any, request_with: Any, error: TargetTimeout, seconds: float
) -> None:
    latency = LatencyStats()
    with pytest.raises(TargetTimeout):
        await LatencyProbe(scripted([error], 8.0, time), latency, time.clock).rerank(request_with())
    assert latency.load_score(time.now) == pytest.approx(seconds)


def probed(backend: Any, time: Any) -> Candidate:
    latency = LatencyStats()
    return Candidate(Step(LatencyProbe(backend, latency, time.clock)), 1.0, latency)
