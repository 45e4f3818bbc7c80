"""What counts as the store's failure, and what does not. The calls are stand-ins, the clock is a test's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.exceptions import BusyLoadingError, ClusterDownError, MasterDownError, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway.access.valkey_client import PAUSE, SILENCE_SECONDS, ValkeyClient
from gateway.errors import StoreDown

TIMEOUT = 0.05


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def answers() -> str:
    return "answer"


async def hangs() -> str:
    await asyncio.Event().wait()
    raise AssertionError


def raises(error: Exception) -> Callable[[], Awaitable[str]]:
    async def call() -> str:
        raise error

    return call


def client(connections: int = 64, clock: Clock | None = None, failures: list[int] | None = None) -> ValkeyClient:
    noted: list[int] = [] if failures is None else failures
    return ValkeyClient("redis://127.0.0.1:1/0", TIMEOUT, connections, lambda: noted.append(1), clock or Clock())


async def told(opened: ValkeyClient, call: Callable[[], Awaitable[str]]) -> str:
    try:
        return await opened.ask(call)
    except StoreDown:
        return "down"


FAILURES: dict[str, tuple[Callable[[], Awaitable[str]], bool]] = {
    "no connection": (raises(RedisConnectionError("refused")), True),
    "reset": (raises(ConnectionResetError()), True),
    "loading": (raises(BusyLoadingError("Redis is loading")), True),
    "a replica, and over a new connection too": (
        raises(ReadOnlyError("You can't write")),
        True,
    ),
    "a replica, as before version 7": (raises(ResponseError("ERR Error running script: -READONLY You can't")), True),
    "a replica without its master": (raises(MasterDownError("Link with MASTER is down")), True),
    "a cluster without a part": (raises(ClusterDownError("The cluster is down")), True),
    "no memory": (raises(ResponseError("OOM command not allowed")), False),
    "not permitted": (raises(ResponseError("NOPERM this user has no permissions")), False),
    "a wrong type": (raises(ResponseError("WRONGTYPE Operation against a key")), False),
    "too slow": (hangs, False),
}


@pytest.mark.parametrize(("call", "pauses"), FAILURES.values(), ids=FAILURES)
async def test_a_pause_follows_only_what_would_fail_everybody(call: Callable[[], Awaitable[str]], pauses: bool) -> None:
    clock, failures = Clock(), list[int]()
    opened = client(clock=clock, failures=failures)
    assert await told(opened, call) == "down"
    assert len(failures) == 1
    assert await told(opened, answers) == ("down" if pauses else "answer")
    clock.now += PAUSE
    assert await told(opened, answers) == "answer"
    await opened.aclose()


async def test_a_server_that_answers_nobody_is_left_alone_until_it_answers() -> None:
    clock = Clock()
    opened = client(clock=clock)
    assert await told(opened, hangs) == "down"
    clock.now += SILENCE_SECONDS
    assert await told(opened, hangs) == "down"
    assert await told(opened, answers) == "down", "and is not asked"
    clock.now += PAUSE
    assert await told(opened, hangs) == "down"
    assert await told(opened, answers) == "down", "one call is enough while nothing was answered in between"
    clock.now += PAUSE
    assert await told(opened, answers) == "answer"
    assert await told(opened, hangs) == "down"
    assert await told(opened, answers) == "answer"
    await opened.aclose()


async def test_two_slow_calls_far_apart_are_no_silence() -> None:
    clock = Clock()
    opened = client(clock=clock)
    for _ in range(2):
        assert await told(opened, hangs) == "down"
        clock.now += 100
    assert await told(opened, answers) == "answer"
    await opened.aclose()


async def test_a_late_answer_ends_a_pause() -> None:
    clock, thaw = Clock(), asyncio.Event()

    async def late() -> str:
        await thaw.wait()
        return "late"

    opened = client(clock=clock)
    assert await told(opened, late) == "down"
    clock.now += SILENCE_SECONDS
    assert await told(opened, hangs) == "down"
    assert await told(opened, answers) == "down"
    thaw.set()
    await _turns()
    assert await told(opened, answers) == "answer"
    await opened.aclose()


async def test_a_stall_of_our_own_loop_is_not_the_stores_failure() -> None:
    failures: list[int] = []
    opened = client(failures=failures)

    async def call() -> str:
        for _ in range(4):  # one after another, as the steps of an answer: sent, received, parsed
            await asyncio.sleep(0)
            time.sleep(3 * TIMEOUT)  # noqa: ASYNC251  # the stall
        return "answer"

    assert [await told(opened, call) for _ in range(2)] == ["answer", "answer"]
    assert failures == []
    await opened.aclose()


@pytest.mark.parametrize("way", ["too slow", "caller left"])
async def test_an_answer_that_nobody_waits_for_is_told_of(way: str) -> None:
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    told_late: list[str] = []

    async def note(text: str) -> None:
        told_late.append(text)

    async def call() -> str:
        return await answer

    opened = client()
    asking = asyncio.create_task(opened.ask(call, note))
    if way == "caller left":
        await _turns()
        asking.cancel()
    await asyncio.wait([asking])
    assert told_late == []
    answer.set_result("late")
    await opened.aclose()
    assert told_late == ["late"]
    assert asking.cancelled() or isinstance(asking.exception(), StoreDown)


async def test_no_free_connection_is_overload_and_starts_no_pause() -> None:
    release, clock = asyncio.Event(), Clock()

    async def holds() -> str:
        await release.wait()
        return "held"

    opened = client(connections=1, clock=clock)
    held = asyncio.create_task(opened.ask(holds))
    await _turns()
    waiting: list[asyncio.Task[Any]] = [asyncio.create_task(told(opened, answers)) for _ in range(3)]
    await _turns()
    waiting[0].cancel()
    release.set()
    assert await held == "held"
    assert await asyncio.gather(*waiting[1:]) == ["answer", "answer"]
    release.clear()
    held = asyncio.create_task(opened.ask(holds))
    await _turns()
    assert await told(opened, answers) == "down"
    release.set()
    await asyncio.wait([held])
    await _turns()
    assert await told(opened, answers) == "answer"
    await opened.aclose()


async def test_a_silent_server_is_left_alone_though_every_connection_is_held_by_a_call_without_answer() -> None:
    clock = Clock()
    opened = client(connections=1, clock=clock)
    assert await told(opened, hangs) == "down"
    clock.now += SILENCE_SECONDS
    assert await told(opened, answers) == "down", "there is no connection"
    pending = asyncio.create_task(told(opened, answers))
    await _turns()
    assert pending.done(), "and nobody waits for one any more"
    await opened.aclose()


async def _turns() -> None:
    """What has been started runs until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)
