"""Both stores keep the same promises; Valkey also keeps them over processes, and fails as configured."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.access.counters import Charge, ReserveResult, Store, UsageBatch, UsageTotals
from gateway.access.memory import MemoryStore
from gateway.access.valkey import ValkeyStore
from gateway.access.valkey_client import PREFIX
from gateway.access.valkey_usage import ValkeyUsage
from gateway.errors import StoreDown
from tests.gateway.access import servers
from tests.ports import free_port

needs_server = pytest.mark.skipif(servers.binary() is None, reason="no valkey-server or redis-server on this machine")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server, for this module."""
    with servers.server(tmp_path_factory.mktemp("valkey")) as (address, _):
        yield address


@pytest.fixture(params=["memory", pytest.param("valkey", marks=needs_server)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """An empty store."""
    if request.param == "memory":
        yield MemoryStore()
        return
    opened = ValkeyStore(request.getfixturevalue("url"), 5.0, fail_open=False)
    await opened._client.redis.flushdb()
    yield opened
    await opened.aclose()


def window(limit: int, amount: int = 1, key: str = "w", seconds: float = 3600) -> Charge:
    return Charge("window", key, limit, amount, window_seconds=seconds)


def budget(limit: int, amount: int, key: str = "b") -> Charge:
    return Charge("budget", key, limit, amount, keep_seconds=3600)


def concurrency(limit: int, key: str = "c", amount: int = 1, seconds: float = 300) -> Charge:
    return Charge("concurrency", key, limit, amount, hold_seconds=seconds)


async def takes(store: Store, *charges: Charge) -> int:
    return (await store.reserve(charges)).refused


async def test_a_window_lets_its_limit_through_and_no_more(store: Store) -> None:
    assert [await takes(store, window(3)) for _ in range(5)] == [-1, -1, -1, 0, 0]


async def test_an_amount_that_does_not_fit_takes_nothing(store: Store) -> None:
    assert await takes(store, window(10, 8)) == -1
    assert await takes(store, window(10, 3)) == 0
    assert await takes(store, window(10, 2)) == -1


async def test_all_charges_are_taken_or_none(store: Store) -> None:
    assert await takes(store, window(5, key="roomy"), window(0, key="full")) == 1
    taken = await store.reserve([window(5, 0, key="roomy")])
    assert list(taken.left) == [5]


async def test_what_is_left_is_told(store: Store) -> None:
    taken = await store.reserve([window(10, 4), budget(100, 30), concurrency(2)])
    assert (taken.refused, list(taken.left)) == (-1, [6, 70, 1])


async def test_a_refusal_tells_when_it_would_fit(store: Store) -> None:
    await store.reserve([window(10, 10)])
    refused = await store.reserve([window(10, 1)])
    assert 3500 < refused.wait <= 3600 + 60
    assert (await store.reserve([window(10, 11)])).wait == 0, "time never makes it fit"


async def test_a_correction_gives_back_or_takes_more(store: Store) -> None:
    first = await store.reserve([window(100, 50), budget(100, 50)])
    await store.settle([window(100, -20), budget(100, 25)], first)
    after = await store.reserve([window(100, 0), budget(100, 0)])
    assert list(after.left) == [70, 25]


async def test_a_correction_of_what_is_long_forgotten_changes_nothing(store: Store) -> None:
    taken = await store.reserve([window(100, 50)])
    await store.settle([window(100, -50)], msgspec.structs.replace(taken, at=taken.at - 7200))
    assert list((await store.reserve([window(100, 0)])).left) == [50]


async def test_a_holder_of_concurrency_is_released_by_settling(store: Store) -> None:
    first, _, refused = [await store.reserve([concurrency(2)]) for _ in range(3)]
    assert (first.refused, refused.refused) == (-1, 0)
    await store.settle([concurrency(2, amount=-1)], first)
    assert [await takes(store, concurrency(2)) for _ in range(2)] == [-1, 0]


async def test_a_big_budget_is_counted_to_the_nano_dollar(store: Store) -> None:
    million = 10**15
    assert await takes(store, budget(million, million - 1)) == -1
    assert await takes(store, budget(million, 2)) == 0
    assert await takes(store, budget(million, 1)) == -1


async def test_the_limit_holds_for_many_at_once(store: Store) -> None:
    answers = await asyncio.gather(*(store.reserve([window(50), budget(1000, 10)]) for _ in range(200)))
    assert sum(answer.refused < 0 for answer in answers) == 50


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def test_no_true_window_ever_sees_more_than_the_limit() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    let_through = []
    for step in range(4000):
        clock.now = 1_000_000.0 + step * 0.037
        if await takes(store, window(25, seconds=10)) == -1:
            let_through.append(clock.now)
    busiest = max(sum(start <= moment < start + 10 for moment in let_through) for start in let_through)
    assert busiest == 25
    assert len(let_through) > 0.9 * 25 * 148 / 10, "and nearly all of the limit can be used"


async def test_after_the_told_wait_it_fits() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    for step in range(10):
        clock.now = 1_000_000.0 + step
        assert await takes(store, window(10, seconds=60)) == -1
    refused = await store.reserve([window(10, 3, seconds=60)])
    clock.now += refused.wait - 0.001
    assert await takes(store, window(10, 3, seconds=60)) == 0
    clock.now += 0.002
    assert await takes(store, window(10, 3, seconds=60)) == -1


async def test_a_budget_of_a_past_period_is_forgotten() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    await store.reserve([budget(10, 10, key="budget:old")])
    clock.now += 7200
    await store.reserve([budget(10, 10, key="budget:new")])
    assert list(store._budgets) == ["budget:new"]


SHARED = {
    "requests": (window(100, 1, "requests"), 100),
    "documents": (window(1000, 7, "documents"), 142),
    "budget": (budget(10**9, 12_345_678, "budget"), 81),
    "concurrency": (concurrency(37, "concurrency"), 37),
}

TAKER = """
import asyncio, sys, msgspec
from gateway.access.counters import Charge
from gateway.access.valkey import ValkeyStore

async def main(url, charges):
    store = ValkeyStore(url, 30.0, fail_open=False)
    async def taken(charge):
        return (await store.reserve([charge])).refused < 0
    counts = [sum(await asyncio.gather(*(taken(charge) for _ in range(120)))) for charge in charges]
    await store.aclose()
    print(*counts)

asyncio.run(main(sys.argv[1], msgspec.json.decode(sys.argv[2], type=list[Charge])))
"""


@needs_server
async def test_processes_together_are_let_through_exactly_as_often_as_the_limit_says(url: str) -> None:
    store = ValkeyStore(url, 5.0, fail_open=False)
    await store._client.redis.flushdb()
    await store.aclose()
    charges = msgspec.json.encode([charge for charge, _ in SHARED.values()]).decode()
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", TAKER, url, charges, stdout=PIPE) for _ in range(3)
    ]
    printed = [(await process.communicate())[0].split() for process in processes]
    let_through = [sum(map(int, counts)) for counts in zip(*printed, strict=True)]
    assert dict(zip(SHARED, let_through, strict=True)) == {name: expected for name, (_, expected) in SHARED.items()}


@needs_server
async def test_every_key_has_the_prefix_and_an_end(url: str) -> None:
    store = ValkeyStore(url, 5.0, fail_open=False)
    await store._client.redis.flushdb()
    await store.settle([budget(5, 1)], await store.reserve([window(5), budget(5, 1), concurrency(5)]))
    usage = ValkeyUsage(url)
    await usage.add(UsageBatch("1", {("2026-11-20", "k", "m"): UsageTotals(requests=1)}))
    await usage.aclose()
    names = await store._client.redis.keys("*")
    assert len(names) == 8
    for name in names:
        assert name.startswith(PREFIX)
        assert await store._client.redis.ttl(name) > 0, name
    await store.aclose()


@needs_server
async def test_a_request_of_a_dead_host_no_longer_counts(url: str) -> None:
    store = ValkeyStore(url, 5.0, fail_open=False)
    await store._client.redis.flushdb()
    await store.reserve([concurrency(1, seconds=0.05)])
    async with asyncio.timeout(10):
        while (await store.reserve([concurrency(1)])).refused >= 0:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # the server's clock is no fake, and it tells nobody
    await store.aclose()


@needs_server
@pytest.mark.parametrize("fail_open", [True, False], ids=["fail_open", "fail_closed"])
@pytest.mark.parametrize("way", ["killed", "frozen", "never there"])
async def test_a_store_that_is_down_never_hangs(fail_open: bool, way: str, tmp_path: Path) -> None:
    failures: list[int] = []
    with servers.server(tmp_path) as (address, process):
        store = ValkeyStore(address, 1.0, fail_open=fail_open, failed=lambda: failures.append(1))
        if way != "never there":
            assert await takes(store, window(5)) == -1
        process.send_signal(signal.SIGSTOP if way == "frozen" else signal.SIGKILL)
        if way != "frozen":
            process.wait()
        async with asyncio.timeout(30):
            assert await outcome(store) == (ReserveResult() if fail_open else "down")
            assert len(failures) == 1
            assert await outcome(store) == (ReserveResult() if fail_open else "down"), "and is not asked again at once"
        assert len(failures) == 2
        await store.settle([window(5, 1)], ReserveResult())
        await store.aclose()


@needs_server
@pytest.mark.parametrize("asked", ["reserve", "settle"])
async def test_a_caller_who_hangs_up_while_the_store_is_asked_leaves_nothing_taken(asked: str, tmp_path: Path) -> None:
    charges = [concurrency(1), window(5, 3), budget(5, 4)]
    with servers.server(tmp_path) as (address, process):
        store = ValkeyStore(address, 5.0, fail_open=False)
        if asked == "settle":
            reserved = await store.reserve(charges)
            process.send_signal(signal.SIGSTOP)
            given_back = [msgspec.structs.replace(charge, amount=-charge.amount) for charge in charges]
            asking: asyncio.Task[Any] = asyncio.create_task(store.settle(given_back, reserved))
        else:
            await takes(store, window(5, 0))  # the connection is open
            process.send_signal(signal.SIGSTOP)
            asking = asyncio.create_task(store.reserve(charges))
        for _ in range(50):
            await asyncio.sleep(0)  # it is sent
        for _ in range(2):
            asking.cancel()
            await asyncio.sleep(0)
        process.send_signal(signal.SIGCONT)
        await store.aclose()
        store = ValkeyStore(address, 5.0, fail_open=False)
        assert await takes(store, concurrency(1), budget(5, 5)) == -1
        await store.aclose()


@needs_server
async def test_a_store_that_comes_back_is_used_again(tmp_path: Path) -> None:
    clock, port = Clock(), free_port()
    with servers.server(tmp_path, port) as (address, _):
        store = ValkeyStore(address, 5.0, fail_open=False, clock=clock)
        assert await takes(store, window(1)) == -1
    assert await outcome(store) == "down"
    with servers.server(tmp_path, port):
        clock.now += 2
        assert await takes(store, window(1)) == -1
        assert await takes(store, window(1)) == 0
        await store.aclose()


async def outcome(store: ValkeyStore) -> Any:
    try:
        return await store.reserve([window(5)])
    except StoreDown:
        return "down"
