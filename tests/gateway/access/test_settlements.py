"""Settlements reach a store that was away for a while, and are carried out once; and its clock may go back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.access import settlements, valkey_client
from gateway.access.counters import Charge
from gateway.access.valkey import ValkeyStore
from gateway.access.valkey_client import PREFIX, script
from gateway.errors import StoreDown
from tests.faults.store import StorePath
from tests.gateway.access import servers

pytestmark = pytest.mark.skipif(servers.binary() is None, reason="no valkey-server or redis-server on this machine")

TIMEOUT = 0.2
WINDOW = Charge("window", "w", 100, 30, window_seconds=3600)
BUDGET = Charge("budget", "b", 100, 30, keep_seconds=3600)
HOLDER = Charge("concurrency", "c", 2, 1, hold_seconds=300)
ALL = (WINDOW, BUDGET, HOLDER)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A real server, for this module."""
    with servers.server(tmp_path_factory.mktemp("valkey")) as (url, _):
        yield int(url.rpartition(":")[2].partition("/")[0])


@pytest.fixture
def path(port: int) -> Iterator[StorePath]:
    """A way to it that can be cut."""
    opened = StorePath(port)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is sent again almost at once, and a store that is gone is asked again as soon."""
    monkeypatch.setattr(valkey_client, "PAUSE", 0.05)
    monkeypatch.setattr(settlements, "RESEND_SECONDS", 0.01)


@asynccontextmanager
async def store_at(port: int, seconds: float = 5.0) -> AsyncIterator[ValkeyStore]:
    opened = ValkeyStore(f"redis://127.0.0.1:{port}/0", seconds, fail_open=False)
    try:
        yield opened
    finally:
        await opened.aclose()


@asynccontextmanager
async def empty_store(port: int) -> AsyncIterator[ValkeyStore]:
    """A way of its own, which no fault touches, to the server that has no data."""
    async with store_at(port) as direct:
        await direct._client.redis.flushdb()
        yield direct


def given_back(charges: Sequence[Charge] = ALL, amount: int | None = None) -> list[Charge]:
    return [replace(charge, amount=-charge.amount if amount is None else amount) for charge in charges]


async def left(store: ValkeyStore) -> tuple[int, ...]:
    """Of the window, of the budget, and places of `concurrency`."""
    looked = await store.reserve([replace(WINDOW, amount=0), replace(BUDGET, amount=0)])
    holders = await store._client.redis.zcard(PREFIX + HOLDER.key)
    return (*looked.left, HOLDER.limit - holders)


async def all_sent(store: ValkeyStore) -> None:
    async with asyncio.timeout(30):
        if store._settlements._resending is not None:
            await asyncio.wait([store._settlements._resending])
    assert (store._settlements._failed, store._settlements._unconfirmed) == ({}, {})


BLIPS: dict[str, Callable[[StorePath], None]] = {
    "refuses connections": lambda path: path.refuse(),
    "carries it out, and the answer is lost": lambda path: path.stall(True),
    "answers too late": lambda path: setattr(path, "delay", 2 * TIMEOUT),
}


@pytest.mark.parametrize("blip", BLIPS)
async def test_what_was_settled_while_the_store_was_away_is_settled_once_when_it_is_back(
    blip: str, port: int, path: StorePath
) -> None:
    async with empty_store(port) as direct, store_at(path.port, TIMEOUT) as store:
        first, second = await store.reserve(ALL), await store.reserve(ALL)
        await store.settle([], first)  # the server knows the script
        BLIPS[blip](path)
        await store.settle(given_back(amount=-20), first)
        await store.settle(given_back(amount=-20), second)  # in the pause, if there is one
        if blip == "carries it out, and the answer is lost":
            assert await left(direct) == (60, 60, 1), "the second has no connection that is open"
            path.refuse()
        path.delay = 0.0
        if blip != "answers too late":
            path.listen()
        await all_sent(store)
        assert await left(direct) == (80, 80, 2)
        assert store._settlements.lost == 0


async def test_what_is_still_to_be_settled_is_sent_when_the_gateway_stops(port: int, path: StorePath) -> None:
    async with empty_store(port) as direct:
        async with store_at(path.port, TIMEOUT) as store:
            reserved = [await store.reserve(ALL) for _ in range(2)]
            path.refuse()
            for each in reserved:
                await store.settle(given_back(), each)
            assert await left(direct) == (40, 40, 0)
            path.listen()
        assert await left(direct) == (100, 100, 2)


async def test_a_store_that_stays_away_holds_a_stopping_gateway_up_for_a_moment_only(
    port: int, path: StorePath, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(settlements, "LAST_SECONDS", 0.1)
    async with asyncio.timeout(10), empty_store(port) as direct:
        async with store_at(path.port, TIMEOUT) as store:
            reserved = await store.reserve(ALL)
            path.refuse()
            await store.settle(given_back(), reserved)
        assert store._settlements.lost == 1
        assert await left(direct) == (70, 70, 1), "it counts as used"
    assert "1 settlements were not confirmed by the store" in caplog.text


async def test_the_oldest_are_dropped_and_counted_where_too_many_wait(
    port: int, path: StorePath, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(settlements, "MAX_SETTLEMENTS", 3)
    async with empty_store(port) as direct, store_at(path.port, TIMEOUT) as store:
        reserved = [await store.reserve([replace(BUDGET, amount=10 + number)]) for number in range(5)]
        path.refuse()
        for number, each in enumerate(reserved):
            await store.settle([replace(BUDGET, amount=-10 - number)], each)
        assert (store._settlements.lost, len(store._settlements._failed)) == (2, 3)
        path.listen()
        await all_sent(store)
        assert (await left(direct))[1] == 100 - 10 - 11
    assert "1 settlements were dropped" in caplog.text


async def test_other_requests_are_served_while_many_settlements_are_sent_again(port: int, path: StorePath) -> None:
    async with empty_store(port) as direct, store_at(path.port, TIMEOUT) as store:
        many = [await store.reserve([replace(BUDGET, limit=1000, amount=1)]) for _ in range(100)]
        path.refuse()
        await asyncio.gather(*(store.settle([replace(BUDGET, amount=-1)], each) for each in many))
        path.listen()
        served = 0
        while store._settlements._failed:
            try:
                served += (await store.reserve([replace(BUDGET, limit=1000, amount=0)])).refused < 0
            except StoreDown:
                assert not served, "only in the pause that the blip has begun"
                await asyncio.sleep(0.01)  # until that is over
        assert served > 5
        await all_sent(store)
        assert (await left(direct))[1] == 100


async def test_a_copy_that_comes_after_all_was_forgotten_changes_nothing(port: int) -> None:
    """A call whose connection was given up may lie in a server that stood still, and be carried out much later."""
    async with empty_store(port) as store:
        sent: list[dict[str, Any]] = []
        run = store._settlements._run

        async def note(**call: Any) -> Any:
            sent.append(call)
            return await run(**call)

        store._settlements._run = note
        for _ in range(50):
            await store.settle(given_back(), await store.reserve(ALL))
        assert await store._client.redis.zcard(store._settlements._settled) <= 2, "what the store keeps does not grow"
        await store.reserve(ALL)
        for call in sent:
            assert await run(**call) == 0
        assert await left(store) == (70, 70, 1)


@pytest.mark.parametrize("newer", [0, 2], ids=["nobody came since", "others came since"])
async def test_what_a_store_lost_with_its_data_is_not_given_back(newer: int, port: int) -> None:
    async with empty_store(port) as store:
        before = await store.reserve(ALL)
        await store._client.redis.flushdb()
        for _ in range(newer):
            await store.reserve(ALL)
        await store.settle(given_back(), before)
        assert await left(store) == (100 - 30 * newer, 100 - 30 * newer, 2 - newer)


@asynccontextmanager
async def store_with_a_clock(port: int) -> AsyncIterator[tuple[ValkeyStore, Callable[[float], Any]]]:
    """The real script, but the server's time is what a key says."""
    async with empty_store(port) as store:
        redis = store._client.redis
        own = script("reserve").replace("redis.call('TIME')", "{redis.call('GET', 'time'), '0'}")
        store._reserve = redis.register_script(own)
        yield store, lambda now: redis.set("time", now)


FULL: dict[str, tuple[Charge, int, float]] = {
    "a window, by an hour": (Charge("window", "w", 10, 10, window_seconds=60), -3600, 0),
    "a long window, by a day": (Charge("window", "w", 10, 10, window_seconds=3600), -86_400, 0),
    "a window, by less than its length": (Charge("window", "w", 10, 10, window_seconds=60), -30, 92),
    "holders of a dead host, by an hour": (Charge("concurrency", "c", 1, 1, hold_seconds=300), -3600, 301),
}
"""What is full; by how many seconds the clock goes; after how many it must have room at the latest."""


@pytest.mark.parametrize(("charge", "step", "seconds"), FULL.values(), ids=FULL)
async def test_nothing_stays_full_because_the_stores_clock_went_back(
    charge: Charge, step: int, seconds: float, port: int
) -> None:
    start = 1_000_000
    async with store_with_a_clock(port) as (store, set_time):
        await set_time(start)
        assert [(await store.reserve([charge])).refused for _ in range(2)] == [-1, 0]
        await set_time(start + step)
        if seconds:
            assert (await store.reserve([charge])).refused == 0, "it may still be under way, or count"
        await set_time(start + step + seconds)
        assert [(await store.reserve([charge])).refused for _ in range(2)] == [-1, 0]


async def test_what_is_reserved_after_the_clock_went_back_is_settled(port: int) -> None:
    async with store_with_a_clock(port) as (store, set_time):
        await set_time(1_000_000)
        before = await store.reserve(ALL)
        await set_time(1_000_000 - 7200)
        after = await store.reserve(ALL)
        assert await left(store) == (70, 40, 0)
        await store.settle(given_back(), after)
        assert await left(store) == (100, 70, 1)
        await store.settle(given_back(), before)
        assert await left(store) == (100, 100, 2)
