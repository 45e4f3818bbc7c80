"""A request is admitted before its route runs, and settled after it, however it ends and wherever it is cancelled."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import pytest
from msgspec import Struct
from msgspec.structs import replace

from gateway.access.counters import Store
from gateway.access.limits import Limit
from gateway.access.memory import MemoryStore
from gateway.access.reservation import Reservation, reserve
from gateway.access.usage import UsageRow, usage
from gateway.access.valkey import ValkeyStore
from gateway.errors import BudgetSpent, Limited, LimitReached, StoreDown, TooLarge, TooMuch
from gateway.policy.rate_limit import RateLimit
from gateway.runtime.ranking import RankResult, rank
from gateway.runtime.service import Service
from gateway.telemetry.exchange import Exchange
from gateway.telemetry.recorder import RequestRecorder
from gateway.transport.base import Response
from providers.errors import Rejected, RerankError, TargetFailed, TargetTimeout
from providers.types import Call, Ranked, Ranking, RerankRequest, Usage
from tests.gateway.access import servers
from tests.gateway.access.conftest import Upstream, config, key
from tests.ports import free_port

SEARCH = 2_000_000
"""Nano-dollars that one search of cohere/rerank-v3.5 costs."""

MODEL = "cohere/rerank-v3.5"
LIMITS = {"requests": "10/hour", "documents": "100/hour", "concurrency": 2}
BUDGET = {"usd": 0.02}

needs_server = pytest.mark.skipif(servers.binary() is None, reason="no valkey-server or redis-server on this machine")


class Live:
    """An open service with one key that has limits and a budget."""

    def __init__(self, upstream: Upstream, **sections: Any) -> None:
        self.upstream = upstream
        self.secret, entry = key(limits=LIMITS, budget=BUDGET)
        provider = {"base_url": "http://upstream.invalid", "api_key": "k", "retry": {"retries": 0}}
        provider |= sections.pop("provider", {})
        self.service = Service(config(auth={"keys": [entry]}, providers={"cohere": provider}, **sections))

    def ask(self, **fields: Any) -> asyncio.Task[RankResult]:
        assert self.service.keys is not None
        call = Call("id", recorder=RequestRecorder())
        request = RerankRequest(model=MODEL, query="q", documents=["a", "b"], call=call)
        request = replace(request, **fields)
        caller = self.service.keys.find(self.secret)
        return asyncio.create_task(rank(self.service, caller, request, None, Exchange("test", call, monotonic())))

    @property
    def limits(self) -> tuple[Limit, ...]:
        assert self.service.meter is not None
        return self.service.meter._limits["team"]

    async def left(self, store: Store | None = None) -> dict[str, int]:
        """What is left of each limit, in `store` or the service's own."""
        reserved = await _look(store or self.service.accounts.store, self.limits)
        return {limit.unit: left for limit, left in zip(self.limits, reserved.reserved.left, strict=True)}

    async def usage(self) -> list[UsageRow]:
        ledger = self.service.accounts.ledger
        try:
            return (await ledger.read([ledger._today()], None)).rows
        except StoreDown:
            rows = {**ledger._waiting, **(ledger._unwritten.rows if ledger._unwritten else {})}
            return [usage(row, totals) for row, totals in rows.items()]


async def _look(store: Store, limits: tuple[Limit, ...]) -> Reservation:
    """Reserves no documents and no money, one request and one of `concurrency`."""
    return await reserve(store, limits, RerankRequest(model="", query="", documents=[]))


UNUSED = {"requests": 9, "documents": 100, "concurrency": 1, "usd": 10 * SEARCH}
"""What `Live.left` finds before anything was asked."""


def used(requests: int = 1, documents: int = 2, searches: int = 0) -> dict[str, int]:
    """What `Live.left` finds after that."""
    return {
        "requests": 9 - requests,
        "documents": 100 - documents,
        "concurrency": 1,
        "usd": (10 - searches) * SEARCH,
    }


@pytest.fixture(params=["memory", pytest.param("valkey", marks=needs_server)])
async def live(request: pytest.FixtureRequest, upstream: Upstream, tmp_path: Path) -> AsyncIterator[Live]:
    """A service on each store. One call at a time reaches the upstream."""
    provider = {"bulkhead": {"concurrency": 1}}
    if request.param == "memory":
        opened = Live(upstream, provider=provider)
        await opened.service.open()
        yield opened
        await opened.service.aclose()
        return
    with servers.server(tmp_path) as (url, _):
        opened = Live(upstream, provider=provider, store={"url": url, "timeout": 5})
        await opened.service.open()
        yield opened
        await opened.service.aclose()


class Ending(Struct):
    """How a request ends, and what it has used then."""

    make: Callable[[Live], Awaitable[object]]
    raises: type[BaseException] | None
    searches: int
    served: int
    failed: int


def answering(**changes: Any) -> Callable[[Live], Awaitable[object]]:
    async def make(live: Live) -> object:
        for name, value in changes.items():
            setattr(live.upstream, name, value)
        return await live.ask()

    return make


def failing(error: Exception) -> Callable[[Live], Awaitable[object]]:
    async def make(live: Live) -> object:
        async def fail() -> None:
            raise error

        live.upstream.wait = fail
        return await live.ask()

    return make


async def cancelled_at_the_target(live: Live) -> object:
    inside = asyncio.Event()

    async def wait() -> None:
        inside.set()
        await asyncio.Event().wait()

    live.upstream.wait = wait
    task = live.ask()
    await inside.wait()
    task.cancel()
    return await task


async def cancelled_in_the_queue(live: Live) -> object:
    """Before the target is asked: it is busy with a call that nobody counts."""
    inside, leave = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        inside.set()
        await leave.wait()

    live.upstream.wait = wait
    request = RerankRequest(model=MODEL, query="q", documents=["a"])
    busy = asyncio.create_task(live.service.rerank(request, [MODEL]))
    await inside.wait()
    task = live.ask()
    await _held(live, 1)
    await _turns()
    task.cancel()
    try:
        return await task
    finally:
        leave.set()
        await busy


async def _held(live: Live, requests: int) -> None:
    """Wait until so many requests are admitted."""
    while await _holders(live) < requests:  # noqa: ASYNC110  # the store tells nobody
        await asyncio.sleep(0)


async def _holders(live: Live) -> int:
    store = live.service.accounts.store
    if isinstance(store, MemoryStore):
        return sum(store._holders.values())
    redis = _redis(live)
    return sum([await redis.zcard(name) for name in await redis.keys("*concurrency*")])


def _redis(live: Live) -> Any:
    store = live.service.accounts.store
    assert isinstance(store, ValkeyStore)
    return store._client.redis


async def _turns() -> None:
    """What has been started runs until it waits."""
    for _ in range(50):
        await asyncio.sleep(0)


ENDINGS: dict[str, Ending] = {
    "served": Ending(answering(), None, 1, 1, 0),
    "served for three searches": Ending(answering(usage={"billed_units": {"search_units": 3}}), None, 3, 1, 0),
    "served, searches unknown": Ending(answering(usage={}), None, 1, 1, 0),
    "refused by the target": Ending(answering(status=400), Rejected, 0, 0, 1),
    "the target failed": Ending(answering(status=500), TargetFailed, 0, 0, 1),
    "no answer in time": Ending(failing(TargetTimeout("late")), TargetTimeout, 1, 0, 1),
    "a fault of ours": Ending(failing(RuntimeError("bug")), TargetFailed, 0, 0, 1),
    "cancelled at the target": Ending(cancelled_at_the_target, asyncio.CancelledError, 1, 0, 1),
    "cancelled before the target was asked": Ending(cancelled_in_the_queue, asyncio.CancelledError, 1, 0, 1),
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
async def test_whatever_ends_a_request_it_is_settled_once(ending: Ending, live: Live) -> None:
    if ending.raises is None:
        await ending.make(live)
    else:
        with pytest.raises(ending.raises):
            await ending.make(live)
    assert await live.left() == used(searches=ending.searches)
    rows = await live.usage()
    assert (sum(row.requests for row in rows), sum(row.failed_requests for row in rows)) == (
        ending.served + ending.failed,
        ending.failed,
    )


REFUSALS: dict[str, tuple[dict[str, Any], type[RerankError], str]] = {
    "more than ever fits": (
        {"documents": ["a"] * 101},
        TooMuch,
        'key "team" is limited to 100 documents per hour, and this request has 101 documents; send fewer at once',
    ),
    "more money than is left": (
        {"documents": ["a"] * 99, "query": "q" * 60_000},
        BudgetSpent,
        'key "team" has a budget of $0.02 per month, of which $0.020000 is left, and this request may cost $0.240000; ',
    ),
    "too large for the gateway": ({"documents": ["a"] * 10_001}, TooLarge, "10001 documents are more than"),
}


@pytest.mark.parametrize(("fields", "kind", "message"), REFUSALS.values(), ids=REFUSALS)
async def test_what_is_refused_has_used_nothing(
    fields: dict[str, Any], kind: type[RerankError], message: str, live: Live
) -> None:
    with pytest.raises(kind) as refused:
        await live.ask(**fields)
    assert refused.value.message.startswith(message)
    assert (live.upstream.calls, await live.usage(), await live.left()) == ([], [], UNUSED)


async def test_one_more_than_at_once_is_refused_in_plain_words(live: Live) -> None:
    inside, leave = asyncio.Semaphore(0), asyncio.Event()

    async def wait() -> None:
        inside.release()
        await leave.wait()

    live.upstream.wait = wait
    running = [live.ask(), live.ask()]
    await inside.acquire()
    await _held(live, 2)
    with pytest.raises(LimitReached, match='key "team" is limited to 2 requests at a time; wait for one'):
        await live.ask()
    leave.set()
    await asyncio.gather(*running)
    assert await live.left() == used(requests=2, documents=4, searches=2)


def answer(searches: int, index: int = 0) -> Response:
    results = [{"index": index, "relevance_score": 0.9}]
    told = {"id": "x", "results": results, "meta": {"billed_units": {"search_units": searches}}}
    return Response(200, {"content-type": "application/json"}, json.dumps(told).encode())


LATE = TargetTimeout("no answer in time")
REFUSED = Response(400, {}, b"{}")
FAILED = Response(500, {}, b"{}")
UNUSABLE = answer(3, index=7)

BILLED: dict[str, tuple[list[Response | Exception], int]] = {
    "the first serves": ([answer(1)], 1),
    "the first failed, and bills nothing": ([FAILED, answer(1)], 1),
    "the first refused, and bills nothing": ([REFUSED, answer(1)], 1),
    "the first may have been billed": ([LATE, answer(1)], 2),
    "the first was billed for an unusable answer": ([UNUSABLE, answer(2)], 5),
    "both may have been billed": ([LATE, LATE], 2),
    "both were billed for unusable answers": ([UNUSABLE, UNUSABLE], 6),
    "one of two that failed was billed": ([UNUSABLE, FAILED], 3),
    "none was billed": ([FAILED, REFUSED], 0),
}
"""What two targets in turn do, and the searches that the budget is charged for."""


@pytest.mark.parametrize(("script", "searches"), BILLED.values(), ids=BILLED)
async def test_a_budget_is_charged_for_every_attempt_that_was_billed(
    script: list[Response | Exception], searches: int, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter(script)

    async def send(*_: Any) -> Response:
        step = next(steps)
        if isinstance(step, Exception):
            raise step
        return step

    monkeypatch.setattr(upstream, "send", send)
    live = Live(upstream, prices={"cohere/*": {"per_search": 0.002}})
    await live.service.open()
    await asyncio.gather(live.ask(model="fast"), return_exceptions=True)
    left = await live.left()
    await live.service.aclose()
    assert left["usd"] == 10 * SEARCH - searches * SEARCH
    assert left["requests"] == 8, "a key's limit counts requests, this look among them"


PAUSED: dict[str, tuple[bool, dict[str, int], int]] = {
    "while it is admitted": (True, UNUSED, 0),
    "while it is settled": (False, used(searches=1), 1),
}


@needs_server
@pytest.mark.parametrize(("at_reserve", "left", "requests"), PAUSED.values(), ids=PAUSED)
async def test_a_request_cancelled_while_the_store_is_asked(
    at_reserve: bool, left: dict[str, int], requests: int, upstream: Upstream, tmp_path: Path
) -> None:
    with servers.server(tmp_path) as (url, process):
        live = Live(upstream, store={"url": url, "timeout": 5})
        await live.service.open()
        await _redis(live).ping()  # the connection is open
        asked = asyncio.Event()

        async def pause() -> None:
            process.send_signal(signal.SIGSTOP)
            asked.set()

        if at_reserve:
            await pause()
        upstream.wait = pause
        task = live.ask()
        await asked.wait()
        await _turns()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        process.send_signal(signal.SIGCONT)
        rows = await live.usage()
        await live.service.aclose()
        store = ValkeyStore(url, 5.0, fail_open=False)
        assert await live.left(store) == left
        await store.aclose()
    assert sum(row.requests for row in rows) == requests
    assert sum(row.failed_requests for row in rows) == 0


async def test_a_store_that_is_down_refuses_before_the_target_is_asked(upstream: Upstream) -> None:
    live = Live(upstream, store={"url": f"redis://127.0.0.1:{free_port()}/0"})
    await live.service.open()
    with pytest.raises(StoreDown):
        await live.ask()
    assert (upstream.calls, await live.usage()) == ([], [])
    await live.service.aclose()


async def test_where_a_store_that_is_down_lets_through_usage_is_kept_for_later(upstream: Upstream) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    live = Live(upstream, store={"url": url, "when_down": "fail_open"})
    await live.service.open()
    result = await live.ask()
    assert result.headers == {}
    assert [(row.model, row.requests) for row in await live.usage()] == [(MODEL, 1)]
    await live.service.aclose()


@needs_server
@pytest.mark.parametrize("status", [200, 500])
async def test_a_store_that_dies_meanwhile_changes_no_answer(status: int, upstream: Upstream, tmp_path: Path) -> None:
    with servers.server(tmp_path) as (url, process):
        live = Live(upstream, store={"url": url, "timeout": 5})
        await live.service.open()

        async def die() -> None:
            process.kill()
            process.wait()

        upstream.wait, upstream.status = die, status
        if status == 200:
            assert (await live.ask()).ranking.provider == "cohere"
        else:
            with pytest.raises(TargetFailed):
                await live.ask()
        assert [(row.requests, row.failed_requests) for row in await live.usage()] == [(1, int(status == 500))]
        await live.service.aclose()


class Target:
    """A backend that answers, raises, or waits until it is cancelled."""

    def __init__(self, outcome: Ranking | BaseException | None) -> None:
        self.outcome = outcome
        self.asked = asyncio.Event()

    async def rerank(self, request: RerankRequest) -> Ranking:
        assert await request.call.take_attempt()
        self.asked.set()
        if self.outcome is None:
            await asyncio.Event().wait()
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        assert self.outcome is not None
        return self.outcome

    async def ready(self) -> bool:
        return True


ANSWER = Ranking(results=[Ranked(0, 0.5)], usage=Usage(total_tokens=40))
TARGETS: dict[str, tuple[Ranking | BaseException | None, int]] = {
    "answers: the tokens it counted": (ANSWER, 40),
    "answers without a count: the estimate": (msgspec.structs.replace(ANSWER, usage=None), 4),
    "fails: the estimate": (TargetFailed("no"), 4),
    "is cancelled: the estimate": (None, 4),
}


@pytest.mark.parametrize(("outcome", "tokens"), TARGETS.values(), ids=TARGETS)
async def test_the_rate_of_a_target_is_settled_too(outcome: Ranking | BaseException | None, tokens: int) -> None:
    store, target = MemoryStore(), Target(outcome)
    limit = Limit("the model", "tokens", 100, 60, "100 tokens per minute", "k", ("a", "b", "c"))
    task = asyncio.create_task(
        RateLimit(target, store, (limit,)).rerank(RerankRequest(model="m", query="q", documents=["12345678"]))
    )
    await target.asked.wait()
    if outcome is None:
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert store._windows["k"].total == tokens


async def test_beyond_its_rate_a_target_is_not_asked() -> None:
    target = Target(ANSWER)
    limit = Limit("the model", "requests", 0, 60, "0 requests per minute", "k", ("a", "b", "c"))
    with pytest.raises(Limited):
        await RateLimit(target, MemoryStore(), (limit,)).rerank(RerankRequest(model="m", query="q", documents=["d"]))
    assert not target.asked.is_set()
