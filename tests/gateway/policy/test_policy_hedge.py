"""Hedging: when the second target is asked, who wins, who is cancelled, and how many extra calls there are."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BreakerOpen
from gateway.policy.clock import Clock
from gateway.policy.fallback import Fallback, Step
from gateway.policy.hedge import Hedge, HedgeBudget, HedgeSettings
from gateway.policy.latency import LatencyStats
from providers.errors import Rejected, RerankError, TargetFailed, TargetTimeout
from providers.types import Ranked, Ranking, RerankRequest

FIRST = Ranking(results=[Ranked(0, 1.0)], provider="first")
SECOND = Ranking(results=[Ranked(0, 1.0)], provider="second")


class Manual:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.asked = 0
        self.cancelled = False
        self.answer: asyncio.Future[Ranking] = asyncio.get_running_loop().create_future()

    async def rerank(self, request: RerankRequest) -> Ranking:
        self.asked += 1
        try:
            return await asyncio.shield(self.answer)
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    async def ready(self) -> bool:
        return True


def allowed(calls: int = 10) -> HedgeBudget:
    budget = HedgeBudget()
    for _ in range(calls):
        budget.deposit()
    return budget


def hedge(first: Any, second: Any, budget: HedgeBudget, after: float | None = 1e-6) -> Hedge:
    return Hedge(Step(first), Step(second), HedgeSettings(after=after), LatencyStats(), budget)


async def until(condition: Any) -> None:
    if not condition():
        await asyncio.sleep(0)
        await until(condition)


@pytest.mark.parametrize("winner", ["first", "second"])
async def test_the_first_answer_wins_and_the_loser_is_cancelled(request_with: Any, winner: str) -> None:
    first, second = Manual(), Manual()
    call = asyncio.create_task(hedge(first, second, allowed()).rerank(request_with()))
    await until(lambda: second.asked)
    won, lost = (first, second) if winner == "first" else (second, first)
    won.answer.set_result(FIRST if winner == "first" else SECOND)
    assert (await call).provider == winner
    assert lost.cancelled
    assert not won.cancelled


async def test_a_failure_does_not_win(request_with: Any) -> None:
    first, second = Manual(), Manual()
    call = asyncio.create_task(hedge(first, second, allowed()).rerank(request_with()))
    await until(lambda: second.asked)
    second.answer.set_exception(TargetFailed("bad"))
    first.answer.set_result(FIRST)
    assert await call == FIRST


async def test_both_failing_tells_the_firsts_error(request_with: Any) -> None:
    first, second = Manual(), Manual()
    first.answer.set_exception(TargetFailed("of the first"))
    second.answer.set_exception(TargetFailed("of the second"))
    with pytest.raises(RerankError, match="of the first"):
        await hedge(first, second, allowed()).rerank(request_with())


async def test_a_quick_answer_asks_nobody_else(request_with: Any) -> None:
    first, second = Manual(), Manual()
    first.answer.set_result(FIRST)
    assert await hedge(first, second, allowed(), after=60.0).rerank(request_with()) == FIRST
    assert not second.asked


@pytest.mark.parametrize("after", [pytest.param(1e-6, id="no budget"), pytest.param(None, id="no p95 known yet")])
async def test_it_waits_for_the_first_where_it_may_not_ask(request_with: Any, after: float | None) -> None:
    first, second = Manual(), Manual()
    budget = allowed(0) if after else allowed()
    call = asyncio.create_task(hedge(first, second, budget, after).rerank(request_with()))
    await until(lambda: first.asked)
    await asyncio.sleep(0.001)
    first.answer.set_result(FIRST)
    assert await call == FIRST
    assert not second.asked


@pytest.mark.parametrize(
    ("budget", "after"),
    [
        pytest.param(0, 1e-6, id="no budget"),
        pytest.param(0, None, id="no budget and no p95"),
        pytest.param(10, None, id="no p95 known yet"),
        pytest.param(10, 1e9, id="a delay beyond the deadline"),
        pytest.param(0, 1e9, id="no budget and a delay beyond the deadline"),
    ],
)
async def test_a_first_that_hangs_leaves_the_second_its_time(
    request_with: Any, budget: int, after: float | None
) -> None:
    """The first gets the deadline of its own share, and ends by itself, so that its breaker hears of it."""
    second = Manual()
    second.answer.set_result(SECOND)
    clock = Clock(now=lambda: 0.0)
    seen: list[float | None] = []

    class Hanging:
        async def rerank(self, request: RerankRequest) -> Ranking:
            seen.append(request.call.deadline)
            raise TargetTimeout("its share is over")

        async def ready(self) -> bool:
            return True

    pair = Hedge(Step(Hanging()), Step(second), HedgeSettings(after=after), LatencyStats(), allowed(budget), clock)
    assert await Fallback([Step(pair, time_shares=2)], clock).rerank(request_with(30.0)) == SECOND
    assert seen == [15.0]


@pytest.mark.parametrize("refuses", [0, 1], ids=["the first refuses", "the second refuses"])
async def test_a_request_that_one_refuses_is_not_sent_again(request_with: Any, refuses: int) -> None:
    targets = [Manual(), Manual()]
    targets[refuses].answer.set_exception(Rejected("too long", status=400))
    targets[1 - refuses].answer.set_exception(BreakerOpen("breaker open"))
    with pytest.raises(Rejected):
        await Fallback([Step(hedge(*targets, allowed()))]).rerank(request_with())
    assert [target.asked for target in targets] == [1, 1]


async def test_a_failing_first_needs_no_budget(request_with: Any) -> None:
    first, second = Manual(), Manual()
    first.answer.set_exception(TargetFailed("bad"))
    second.answer.set_result(SECOND)
    assert await hedge(first, second, allowed(0), after=60.0).rerank(request_with()) == SECOND


async def test_a_caller_that_leaves_cancels_both(request_with: Any) -> None:
    first, second = Manual(), Manual()
    call = asyncio.create_task(hedge(first, second, allowed()).rerank(request_with()))
    await until(lambda: second.asked)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert first.cancelled
    assert second.cancelled


@given(st.lists(st.booleans(), max_size=400))
def test_never_more_than_a_tenth_extra(wants: list[bool]) -> None:
    budget, extra = HedgeBudget(), 0
    for calls, want in enumerate(wants, start=1):
        budget.deposit()
        extra += want and budget.withdraw()
        assert extra <= calls / 10
