"""The bulkhead: how many at once, who waits, who is refused; nobody's place is ever lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.bulkhead import Bulkhead, BulkheadSettings, BulkheadState
from gateway.policy.target_id import TargetId
from providers.errors import Overloaded
from providers.types import Call, Ranked, Ranking, RerankRequest

GOOD = Ranking(results=[Ranked(0, 1.0)])


class Gate:
    """Holds every call until the test lets it go."""

    def __init__(self) -> None:
        self.inside: list[asyncio.Future[None]] = []
        self.order: list[str] = []
        self.most = 0

    async def rerank(self, request: RerankRequest) -> Ranking:
        self.order.append(request.query)  # type: ignore[arg-type]
        held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.inside.append(held)
        self.most = max(self.most, len(self.inside))
        try:
            await held
        finally:
            self.inside.remove(held)
        return GOOD

    async def ready(self) -> bool:
        return True


def asked(name: str = "q", deadline: float | None = None) -> RerankRequest:
    return RerankRequest(model="m", query=name, documents=["a"], call=Call(id="1", deadline=deadline))


TARGET = TargetId("jina", "m")


def slots(concurrency: int, queue: int) -> BulkheadState:
    return BulkheadState(BulkheadSettings(concurrency=concurrency, queue=queue))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    if not condition():
        await asyncio.sleep(0)
        await until(condition)


async def test_full_means_refused_at_once_with_a_time_to_come_again() -> None:
    gate = Gate()
    state = slots(1, 1)
    guard = Bulkhead(gate, state, TARGET)
    calls = [asyncio.create_task(guard.rerank(asked())) for _ in range(2)]
    await settle()
    assert (state.active, state.waiting) == (1, 1)
    with pytest.raises(Overloaded, match="jina/m is busy with 1 calls and its queue is full") as caught:
        await guard.rerank(asked())
    assert caught.value.retry_after == 1.0
    for call in calls:
        gate.inside[0].set_result(None)
        assert await call == GOOD
        await settle()
    assert (state.active, state.waiting) == (0, 0)


async def test_first_come_first_served() -> None:
    gate = Gate()
    state = slots(1, 9)
    guard = Bulkhead(gate, state, TARGET)
    calls = [asyncio.create_task(guard.rerank(asked(name))) for name in "abcd"]
    await settle()
    for _ in calls:
        gate.inside[0].set_result(None)
        await settle()
    assert gate.order == list("abcd")
    await asyncio.gather(*calls)


async def test_a_turn_that_comes_too_late_is_refused(time: Any) -> None:
    gate = Gate()
    state = slots(1, 9)
    guard = Bulkhead(gate, state, TARGET, time.clock)
    first = asyncio.create_task(guard.rerank(asked()))
    await settle()
    with pytest.raises(Overloaded, match="timed out waiting for a free slot"):
        await guard.rerank(asked(deadline=time.now))
    assert (state.active, state.waiting) == (1, 0)
    gate.inside[0].set_result(None)
    await first


async def test_cancelled_in_the_moment_of_its_turn_it_passes_the_place_on() -> None:
    gate = Gate()
    state = slots(1, 9)
    guard = Bulkhead(gate, state, TARGET)
    calls = [asyncio.create_task(guard.rerank(asked(name))) for name in "abc"]
    await settle()
    gate.inside[0].set_result(None)
    await until(calls[0].done)
    calls[1].cancel()
    await settle()
    assert gate.order == ["a", "c"]
    gate.inside[0].set_result(None)
    await calls[2]
    assert state.active == 0


@settings(max_examples=60, deadline=None)
@given(
    concurrency=st.integers(1, 4),
    queue=st.integers(0, 4),
    seed=st.integers(0, 2**32),
    steps=st.lists(st.sampled_from(["come", "finish", "cancel", "tick"]), max_size=80),
)
def test_limits_hold_and_no_place_is_lost(concurrency: int, queue: int, seed: int, steps: list[str]) -> None:
    async def run() -> None:
        gate, dice, calls = Gate(), random.Random(seed), []
        state = slots(concurrency, queue)
        guard = Bulkhead(gate, state, TARGET)
        for step in steps:
            if step == "come":
                calls.append(asyncio.create_task(guard.rerank(asked())))
            elif step == "finish" and gate.inside:
                held = dice.choice(gate.inside)
                held.done() or held.set_result(None)
            elif step == "cancel" and calls:
                dice.choice(calls).cancel()
            else:
                await settle()
            assert state.active <= concurrency
            assert state.waiting <= queue
        while any(not call.done() for call in calls):
            await settle()
            for held in gate.inside:
                held.done() or held.set_result(None)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(outcome == GOOD or isinstance(outcome, Overloaded | asyncio.CancelledError) for outcome in outcomes)
        assert gate.most <= concurrency
        assert (state.active, state.waiting) == (0, 0)

    asyncio.run(run())
