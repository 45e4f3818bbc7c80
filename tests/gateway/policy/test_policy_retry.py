"""Retry: what is tried again, when, how often, and for how many at once."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BreakerOpen, KeysCooling
from gateway.policy.clock import Clock
from gateway.policy.key_pool import KeyedBackend, KeyPool
from gateway.policy.key_state import KeyState
from gateway.policy.retry import MIN_PAUSE_SECONDS, Retry, RetryBudget, RetrySettings, backoff, is_transient
from providers.errors import (
    AnswerBroken,
    BadAnswer,
    CredentialsRejected,
    NotHttp,
    Overloaded,
    RateLimited,
    Rejected,
    RerankError,
    TargetFailed,
    TargetTimeout,
    Unreachable,
)
from providers.types import Ranked, Ranking

GOOD = Ranking(results=[Ranked(0, 1.0), Ranked(1, 0.5)])
PASSING = [408, 409, 425, 429, 500, 502, 503, 504, 524, 529]
LASTING = [301, 400, 401, 402, 403, 404, 405, 413, 418, 422, 498, 501, 505]


def error_of(status: int) -> RerankError:
    if status == 429:
        return RateLimited("x", status=429)
    if status in (401, 402, 403):
        return CredentialsRejected("x", status=status)
    return (Rejected if status in (400, 404, 413, 422, 498) else TargetFailed)("x", status=status)


def retry(time: Any, backend: Any, **chosen: Any) -> Retry:
    wanted = RetrySettings(**chosen)
    return Retry(backend, wanted, RetryBudget(wanted), time.clock)


@pytest.mark.parametrize(
    ("error", "helps"),
    [
        *(pytest.param(error_of(status), True, id=str(status)) for status in PASSING),
        *(pytest.param(error_of(status), False, id=str(status)) for status in LASTING),
        pytest.param(Unreachable("x"), True, id="no answer began"),
        pytest.param(AnswerBroken("x"), True, id="an answer broke off"),
        pytest.param(NotHttp("x"), False, id="no HTTP"),
        pytest.param(TargetTimeout("x"), False, id="timeout: the time is gone"),
        pytest.param(BadAnswer("x"), False, id="malformed 200"),
        pytest.param(TargetFailed("internal error"), False, id="a fault of ours"),
        pytest.param(Overloaded("x", retry_after=1), False, id="our own queue full"),
        pytest.param(BreakerOpen("x", retry_after=1), False, id="breaker open"),
    ],
)
async def test_what_is_tried_again(time: Any, scripted: Any, request_with: Any, error: Any, helps: bool) -> None:
    assert is_transient(error) is helps
    backend = scripted([error, GOOD])
    if helps:
        assert await retry(time, backend).rerank(request_with()) == GOOD
    else:
        with pytest.raises(type(error)):
            await retry(time, backend).rerank(request_with())
    assert len(backend.requests) == (2 if helps else 1)


@pytest.mark.parametrize(
    ("asked", "left", "slept"),
    [
        pytest.param(None, None, [0.0125], id="jitter"),
        pytest.param(1.5, None, [1.5], id="as long as asked"),
        pytest.param(0.001, None, [0.0125], id="asked for less than the jitter"),
        pytest.param(2.5, None, [], id="longer than max_retry_after"),
        pytest.param(1.5, 1.0, [], id="longer than the time left"),
        pytest.param(None, 0.001, [], id="no time for the jitter"),
    ],
)
async def test_the_wait(
    time: Any, scripted: Any, request_with: Any, asked: float | None, left: float | None, slept: list[float]
) -> None:
    backend = scripted([RateLimited("x", status=429, retry_after=asked), GOOD])
    request = request_with(left, time)
    if slept:
        await retry(time, backend).rerank(request)
    else:
        with pytest.raises(RateLimited):
            await retry(time, backend).rerank(request)
    assert time.slept == pytest.approx(slept)


@pytest.mark.parametrize("retries", [0, 1, 2, 5])
async def test_how_often(time: Any, scripted: Any, request_with: Any, retries: int) -> None:
    backend = scripted([TargetFailed(f"number {n}", status=500) for n in range(retries + 1)])
    with pytest.raises(TargetFailed, match=f"number {retries}"):
        await retry(time, backend, retries=retries).rerank(request_with())
    assert len(backend.requests) == retries + 1


async def test_when_the_breaker_opens_meanwhile_the_targets_own_error_counts(
    time: Any, scripted: Any, request_with: Any
) -> None:
    backend = scripted([TargetFailed("its own", status=500), BreakerOpen("open")])
    with pytest.raises(TargetFailed, match="its own"):
        await retry(time, backend).rerank(request_with())


@given(st.integers(min_value=1, max_value=10), st.floats(min_value=0, max_value=1, exclude_max=True))
def test_the_jitter_is_full_and_capped(number: int, chance: float) -> None:
    wanted = RetrySettings()
    ceiling = [0.025, 0.075, 0.175, 0.25][min(number, 4) - 1]
    assert backoff(wanted, number, chance) == pytest.approx(chance * ceiling)


@given(st.lists(st.sampled_from(["begin", "end", "take", "give"]), max_size=200))
def test_the_budget_is_a_fifth_but_at_least_three(steps: list[str]) -> None:
    budget = RetryBudget(RetrySettings())
    for step in steps:
        allowed = max(3, budget.active // 5)
        if step == "begin":
            budget.active += 1
        elif step == "end":
            budget.active = max(0, budget.active - 1)
        elif step == "take":
            before = budget.retrying
            assert budget.try_acquire() is (before < allowed)
            assert budget.retrying <= max(allowed, before)
        elif budget.retrying:
            budget.release()


async def test_the_budget_is_given_back_whatever_happens(time: Any, scripted: Any, request_with: Any) -> None:
    wanted = RetrySettings()
    budget = RetryBudget(wanted)
    for script in ([TargetFailed("x", status=500)], [TargetFailed("x", status=500), GOOD], [ValueError("bug")]):
        with contextlib.suppress(RerankError, ValueError):
            await Retry(scripted(script), wanted, budget, time.clock).rerank(request_with())
    assert (budget.active, budget.retrying) == (0, 0)


async def test_a_retry_waits_until_its_key_may_be_used(time: Any, scripted: Any, request_with: Any) -> None:
    """Another request is limited while it waits, so that the key rests for longer than this one was told."""
    backend = scripted([RateLimited("x", status=429, retry_after=1.0), GOOD])
    key = KeyedBackend(backend, KeyState("a", 1.0))
    keys = KeyPool([key], "cohere", time.clock)

    async def sleep(seconds: float) -> None:
        time.slept.append(seconds)
        time.now += seconds * 0.999  # A timer that is a little early.
        if len(time.slept) == 1:
            key.state.record_rate_limit("m", time.now, 0.5)

    clock = Clock(now=lambda: time.now, sleep=sleep, chance=time.chance)
    settings = RetrySettings()
    target = Retry(keys, settings, RetryBudget(settings), clock)
    assert await target.rerank(request_with(30.0, time)) == GOOD
    assert len(backend.requests) == 2
    assert time.slept[:2] == pytest.approx([1.0, 0.5])


@pytest.mark.parametrize(
    ("longer", "left"),
    [
        pytest.param(5.0, 30.0, id="longer than it may wait"),
        pytest.param(1.9, 2.5, id="longer than the time left"),
    ],
)
async def test_a_retry_whose_key_rests_for_long_gives_up(
    time: Any, scripted: Any, request_with: Any, longer: float, left: float
) -> None:
    told = RateLimited("its own", status=429, retry_after=1.0)
    backend = scripted([told, KeysCooling("rests", status=429, retry_after=longer), GOOD])
    with pytest.raises(RateLimited, match="its own"):
        await retry(time, backend).rerank(request_with(left, time))


async def test_a_key_that_never_wakes_is_not_waited_for_for_ever(time: Any, scripted: Any, request_with: Any) -> None:
    told = RateLimited("its own", status=429, retry_after=1.0)
    backend = scripted([told, KeysCooling("rests", status=429, retry_after=0.0)])
    with pytest.raises(RateLimited, match="its own"):
        await retry(time, backend).rerank(request_with(30.0, time))
    assert len(backend.requests) < 2.0 / MIN_PAUSE_SECONDS + 5


CUT_OFFS = [Unreachable("closed"), *(TargetFailed("x", status=status) for status in (500, 502, 503))]
OVERLOADS = [
    TargetFailed("x", status=503, retry_after=0.01),
    TargetFailed("x", status=529),
    TargetFailed("x", status=504),
    RateLimited("x", status=429),
]


class Replicas:
    """Holds all calls, then cuts them off at once with that error; later calls are served."""

    def __init__(self, error: RerankError, calls: int) -> None:
        self.error = error
        self.calls = calls
        self.dead = asyncio.Event()
        self.asked = 0

    async def rerank(self, request: Any) -> Ranking:
        self.asked += 1
        if self.asked > self.calls:
            return GOOD
        if self.asked == self.calls:
            self.dead.set()
        await self.dead.wait()
        raise self.error

    async def ready(self) -> bool:
        return True


async def served_of(calls: int, time: Any, request_with: Any, error: RerankError, **chosen: Any) -> int:
    target = retry(time, Replicas(error, calls), **chosen)
    outcomes = await asyncio.gather(
        *(target.rerank(request_with(30.0, time)) for _ in range(calls)), return_exceptions=True
    )
    return sum(isinstance(outcome, Ranking) for outcome in outcomes)


@pytest.mark.parametrize("error", CUT_OFFS, ids=lambda error: f"{type(error).__name__} {error.status or ''}")
@pytest.mark.parametrize("calls", [2, 12, 24, 200])
async def test_all_calls_that_one_dead_replica_cut_off_are_tried_again(
    time: Any, request_with: Any, error: RerankError, calls: int
) -> None:
    time.sleep = asyncio.sleep  # The pauses run side by side.
    assert await served_of(calls, time, request_with, error, base_backoff=1e-6) == calls


@pytest.mark.parametrize("error", OVERLOADS, ids=lambda error: f"{type(error).__name__} {error.status}")
async def test_an_overload_is_no_burst(time: Any, request_with: Any, error: RerankError) -> None:
    time.sleep = asyncio.sleep
    assert await served_of(24, time, request_with, error, base_backoff=1e-6) <= 5


@pytest.mark.parametrize("chosen", [{"budget": 0.0}, {"budget": 0.0, "min_concurrency": 0}, {"retries": 0}])
async def test_who_wants_no_retries_gets_none_in_a_burst(time: Any, request_with: Any, chosen: Any) -> None:
    time.sleep = asyncio.sleep
    assert await served_of(24, time, request_with, Unreachable("x"), base_backoff=1e-6, **chosen) <= 3


def test_bursts_are_bounded_in_size_and_number() -> None:
    budget = RetryBudget(RetrySettings())
    budget.active = 9
    assert budget.joins_burst(0.0, 1.0)
    assert sum(budget.try_acquire(in_burst=True) for _ in range(50)) == 10
    assert budget.joins_burst(0.5, 1.1), "it was under way"
    assert not budget.joins_burst(1.05, 1.1), "it began later"
    assert not budget.joins_burst(1.05, 5.9)
    assert budget.joins_burst(1.05, 6.0), "the next burst"


@pytest.mark.parametrize("before", [0, 1, 2, 5, 12], ids=lambda calls: f"{calls} cut off before")
def test_a_few_calls_cut_off_before_do_not_use_up_what_a_death_needs(before: int) -> None:
    budget = RetryBudget(RetrySettings())
    for left in reversed(range(before)):
        budget.active = left
        budget.joins_burst(0.0, 1.0)
    budget.active = 23
    assert budget.joins_burst(0.5, 2.0)
    assert sum(budget.try_acquire(in_burst=True) for _ in range(50)) == 24


def test_a_target_that_always_fails_gets_no_more_by_growing_bursts() -> None:
    budget, starts = RetryBudget(RetrySettings()), []
    for calls in range(1, 65):
        budget.active, now = calls, 1.0 + calls / 100
        if budget.joins_burst(now, now):
            starts.append(calls + 1)
    assert starts == [2, 4, 8, 16, 32, 64]


async def test_without_budget_there_is_no_retry(time: Any, scripted: Any, request_with: Any) -> None:
    backend = scripted([TargetFailed("x", status=500)])
    with pytest.raises(TargetFailed):
        await retry(time, backend, min_concurrency=0).rerank(request_with())
    assert len(backend.requests) == 1
