"""A name is looked up seldom, and its addresses serve on while the resolver does not."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from gateway.http1 import addresses
from gateway.http1.addresses import MAX_AGE_SECONDS, MAX_STALE_SECONDS, RETRY_SECONDS, AddressCache


class Resolver:
    """The event loop's resolver and clock, as a test wants them.

    Attributes:
        says: addresses, an error, or None to say nothing until `end` is set.
    """

    def __init__(self) -> None:
        self.says: tuple[str, ...] | Exception | None = ("10.0.0.1",)
        self.end = asyncio.Event()
        self.asked = 0
        self.now = 1000.0

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.says is None:
            await self.end.wait()
        if isinstance(self.says, Exception):
            raise self.says
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, port)) for address in self.says or ()]


@pytest.fixture
def resolver() -> Resolver:
    return Resolver()


@pytest.fixture
async def cache(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> AddressCache:
    opened = AddressCache("upstream.test", 80)

    class Loop:
        getaddrinfo = staticmethod(resolver.getaddrinfo)

        @staticmethod
        def time() -> float:
            return resolver.now

    monkeypatch.setattr(opened, "_loop", Loop)
    monkeypatch.setattr(addresses, "STALE_WAIT_SECONDS", 0.01)
    return opened


async def found(cache: AddressCache) -> list[str]:
    return sorted(address[4][0] for address in await cache.find())


DOWN = {
    "no answer in time": socket.gaierror(socket.EAI_AGAIN, "temporary failure"),
    "an answer that is a failure": socket.gaierror(socket.EAI_FAIL, "failure"),
    "the system's error": socket.gaierror(socket.EAI_SYSTEM, "system error"),
    "no memory": socket.gaierror(socket.EAI_MEMORY, "memory"),
    "nothing at all": None,
}


@pytest.mark.parametrize("fault", DOWN.values(), ids=DOWN)
@pytest.mark.parametrize("age", [MAX_AGE_SECONDS + 1, 3600.0, MAX_STALE_SECONDS - 1])
async def test_an_old_answer_serves_while_the_resolver_is_down(
    cache: AddressCache, resolver: Resolver, fault: Exception | None, age: float
) -> None:
    assert await found(cache) == ["10.0.0.1"]
    resolver.says = fault
    resolver.now += age
    assert await found(cache) == ["10.0.0.1"]
    assert await found(cache) == ["10.0.0.1"]
    assert resolver.asked == 2  # Not once more for each connection.
    resolver.says = ("10.0.0.2",)
    resolver.end.set()
    await asyncio.sleep(0)
    resolver.now += RETRY_SECONDS + 1
    await asyncio.gather(*(found(cache) for _ in range(3)))
    assert await found(cache) == ["10.0.0.2"]


GONE = {
    "the name is gone": (socket.gaierror(socket.EAI_NONAME, "unknown"), MAX_AGE_SECONDS + 1),
    "it has no address any more": (socket.gaierror(socket.EAI_NODATA, "no data"), MAX_AGE_SECONDS + 1),
    "the answer is too old": (socket.gaierror(socket.EAI_AGAIN, "temporary failure"), MAX_STALE_SECONDS + 1),
}


@pytest.mark.parametrize(("fault", "age"), GONE.values(), ids=GONE)
async def test_an_old_answer_serves_no_more(
    cache: AddressCache, resolver: Resolver, fault: Exception, age: float
) -> None:
    await found(cache)
    resolver.says = fault
    resolver.now += age
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await found(cache)
    resolver.says = ("10.0.0.2",)
    assert await found(cache) == ["10.0.0.2"]


async def test_a_name_that_was_never_known_fails_at_once(cache: AddressCache, resolver: Resolver) -> None:
    resolver.says = socket.gaierror(socket.EAI_AGAIN, "temporary failure")
    for asked in (1, 2):
        with pytest.raises(socket.gaierror):
            await found(cache)
        assert resolver.asked == asked


async def test_an_answer_is_used_for_a_while(cache: AddressCache, resolver: Resolver) -> None:
    for _ in range(3):
        await found(cache)
        resolver.now += MAX_AGE_SECONDS / 3
    assert resolver.asked == 1
    resolver.now += 1
    await found(cache)
    assert resolver.asked == 2


async def test_a_doubtful_answer_is_looked_up_before_the_next_connection(
    cache: AddressCache, resolver: Resolver
) -> None:
    await found(cache)
    cache.doubt()
    resolver.says = ("10.0.0.2",)
    assert await found(cache) == ["10.0.0.2"]
    assert await found(cache) == ["10.0.0.2"]
    assert resolver.asked == 2


async def test_a_doubtful_answer_serves_while_the_resolver_is_down(cache: AddressCache, resolver: Resolver) -> None:
    await found(cache)
    cache.doubt()
    resolver.says = socket.gaierror(socket.EAI_AGAIN, "temporary failure")
    assert await found(cache) == ["10.0.0.1"]


async def test_a_resolver_that_hangs_is_asked_once(cache: AddressCache, resolver: Resolver) -> None:
    await found(cache)
    resolver.says = None
    resolver.now += MAX_AGE_SECONDS + 1
    for _ in range(5):
        assert await found(cache) == ["10.0.0.1"]
        resolver.now += 60
    assert resolver.asked == 2


async def test_a_connection_that_is_cancelled_leaves_the_look_up_to_others(
    cache: AddressCache, resolver: Resolver
) -> None:
    resolver.says = None
    first, second = (asyncio.create_task(found(cache)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    resolver.says = ("10.0.0.1",)
    resolver.end.set()
    assert await second == ["10.0.0.1"]
    assert resolver.asked == 1
