"""Retry: what is tried again, when, how often, and for how many at once."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BreakerOpen
from gateway.policy.retry import Retry, RetryBudget, RetrySettings, backoff, is_transient
from providers.errors import (
    AnswerBroken,
    BadAnswer,
    CredentialsRejected,
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
PASSING = [408, 409, 425, 429, 500, 502, 503, 504, 529]
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
        pytest.param(AnswerBroken("x"), False, id="an answer began"),
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


async def test_without_budget_there_is_no_retry(time: Any, scripted: Any, request_with: Any) -> None:
    backend = scripted([TargetFailed("x", status=500)])
    with pytest.raises(TargetFailed):
        await retry(time, backend, min_concurrency=0).rerank(request_with())
    assert len(backend.requests) == 1
