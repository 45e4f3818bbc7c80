"""Which answered requests a candidate ranks too, and that nothing of it reaches the caller's own record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.policy.clock import Clock
from gateway.policy.shadow import LOWEST_PRIORITY, MAX_LAG_SECONDS, Shadow, ShadowSettings
from gateway.policy.target_id import TargetId
from gateway.telemetry.shadows import Agreement, ShadowOutcome
from providers.errors import RateLimited
from providers.types import Call, Ranked, Ranking, RerankRequest

CANDIDATE = TargetId("new", "m2")
LIVE = Ranking(results=[Ranked(1, 0.9), Ranked(0, 0.1)], alias="search")
OPPOSITE = Ranking(results=[Ranked(0, 0.9), Ranked(1, 0.1)], cost=0.002)


class Gate:
    """A backend that ranks when the test says so."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.requests: list[RerankRequest] = []

    async def rerank(self, request: RerankRequest) -> Ranking:
        self.requests.append(request)
        await self.opened.wait()
        return OPPOSITE

    async def ready(self) -> bool:
        return True


def beside(
    backend: Any,
    clock: Clock,
    is_busy: Callable[[], bool] = lambda: False,
    **settings: Any,
) -> Shadow:
    chosen = ShadowSettings(target="new/m2", **settings)
    return Shadow("search", CANDIDATE, backend, chosen, 30.0, is_busy, clock)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_reported_of_a_ranking(time: Any, scripted: Any, request_with: Any) -> None:
    told: list[ShadowOutcome] = []
    shadow = beside(scripted([OPPOSITE], 0.25, time), time.clock)
    shadow.offer(request_with(), LIVE, told.append)
    assert told == [], "it must not keep the caller"
    await settle()
    expected = ShadowOutcome("search", "new/m2", "ok", "", 0.25, 0.002, Agreement(1.0, 1.0, False))
    assert told == [expected]
    assert shadow.in_flight == 0


async def test_what_is_reported_of_a_failure(time: Any, scripted: Any, request_with: Any) -> None:
    told: list[ShadowOutcome] = []
    beside(scripted([RateLimited("no", status=429)], 0.5, time), time.clock).offer(request_with(), LIVE, told.append)
    await settle()
    assert told == [ShadowOutcome("search", "new/m2", "error", "rate_limited", 0.5)]


async def test_the_call_is_a_callers_in_nothing_but_its_texts(time: Any, scripted: Any, request_with: Any) -> None:
    backend = scripted([OPPOSITE])
    request = request_with(0.001, time)
    request = replace(
        request, top_n=1, priority=3, call=replace(request.call, headers={"traceparent": "x"}, caller="team")
    )
    beside(backend, time.clock).offer(request, LIVE, lambda _: None)
    await settle()
    (sent,) = backend.requests
    assert (sent.query, sent.documents, sent.top_n) == (request.query, request.documents, 1)
    assert sent.priority == LOWEST_PRIORITY
    assert (sent.call.deadline, dict(sent.call.headers)) == (time.now + 30.0, {"x-request-id": "1"})
    assert sent.call.recorder is Call(id="").recorder, "the one that keeps nothing"
    assert (sent.call.attempts, sent.call.caller) == (None, "")


@pytest.mark.parametrize(
    ("changes", "live", "chance", "settings"),
    [
        pytest.param({}, LIVE, 0.5, {"share": 0.5}, id="not drawn"),
        pytest.param({"queries": ["a", "b"]}, LIVE, 0.0, {}, id="pairs, which have no order"),
        pytest.param({}, replace(LIVE, alias="spare"), 0.0, {}, id="a fallback served"),
        pytest.param({}, replace(LIVE, alias=""), 0.0, {}, id="a fallback without a name served"),
        pytest.param({}, replace(LIVE, results=[]), 0.0, {}, id="nothing to compare"),
    ],
)
async def test_requests_that_are_not_offered(
    time: Any, scripted: Any, request_with: Any, changes: Any, live: Ranking, chance: float, settings: Any
) -> None:
    time.chances = [chance]
    told: list[ShadowOutcome] = []
    backend = scripted([OPPOSITE])
    beside(backend, time.clock, **settings).offer(replace(request_with(), **changes), live, told.append)
    await settle()
    assert (told, backend.requests) == ([], [])


async def test_it_is_dropped_first(time: Any, request_with: Any) -> None:
    gate, told = Gate(), []
    busy = [False]
    shadow = beside(gate, time.clock, lambda: busy[0], concurrency=2)
    for _ in range(3):
        shadow.offer(request_with(), LIVE, told.append)
    await settle()
    assert (len(gate.requests), [outcome.outcome for outcome in told]) == (2, ["dropped"])
    gate.opened.set()
    await settle()
    busy[0] = True
    shadow.offer(request_with(), LIVE, told.append)
    await settle()
    assert [outcome.outcome for outcome in told] == ["dropped", "ok", "ok", "dropped"]


async def test_a_call_that_begins_late_is_dropped(time: Any, scripted: Any, request_with: Any) -> None:
    told: list[ShadowOutcome] = []
    backend = scripted([OPPOSITE])
    beside(backend, time.clock).offer(request_with(), LIVE, told.append)
    time.now += MAX_LAG_SECONDS * 2
    await settle()
    assert ([outcome.outcome for outcome in told], backend.requests) == (["dropped"], [])


async def test_closing_ends_the_calls(time: Any, request_with: Any) -> None:
    gate, told = Gate(), []
    shadow = beside(gate, time.clock)
    shadow.offer(request_with(), LIVE, told.append)
    await settle()
    assert shadow.in_flight == 1
    await shadow.aclose()
    assert (shadow.in_flight, told) == (0, [])


async def test_a_fault_of_ours_is_reported_without_its_message(
    time: Any, scripted: Any, request_with: Any, caplog: Any
) -> None:
    told: list[ShadowOutcome] = []
    beside(scripted([KeyError("MARKER")]), time.clock).offer(request_with(), LIVE, told.append)
    await settle()
    assert [(outcome.outcome, outcome.error_type) for outcome in told] == [("error", "internal_error")]
    assert "MARKER" not in caplog.text
