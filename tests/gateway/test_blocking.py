"""Long work: in threads, bounded, and ended with whoever waits for it."""

from __future__ import annotations

import asyncio
import threading
import weakref
from time import monotonic

import pytest

from gateway import blocking
from gateway.blocking import BlockingPool, Cancelled, check_cancelled
from gateway.errors import DeadlineExceeded
from providers.errors import InvalidRequest, Overloaded


async def test_little_work_is_done_at_once_and_much_in_a_thread() -> None:
    assert await blocking.run(blocking.INLINE_BYTES, threading.current_thread) is threading.main_thread()
    assert await blocking.run(blocking.INLINE_BYTES + 1, threading.current_thread) is not threading.main_thread()


async def test_an_error_is_raised_where_the_work_is_awaited() -> None:
    def refuse() -> None:
        raise InvalidRequest("no")

    with pytest.raises(InvalidRequest, match="no"):
        await BlockingPool().run(1, refuse)


class Gate:
    """Work that goes on until it is opened, or cancelled."""

    def __init__(self) -> None:
        self.begun, self.opened, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.cancelled = False

    def __call__(self) -> str:
        self.begun.set()
        try:
            while not self.opened.wait(0.001):
                check_cancelled()
        except Cancelled:
            self.cancelled = True
            raise
        finally:
            self.ended.set()
        return "done"


async def _begun(gate: Gate) -> None:
    await asyncio.to_thread(gate.begun.wait)


async def test_too_much_work_is_refused_and_what_has_ended_makes_room() -> None:
    pool, gate = BlockingPool(threads=1, max_bytes=10), Gate()
    first = asyncio.create_task(pool.run(100, gate))  # Larger than the bound, but alone.
    await _begun(gate)
    with pytest.raises(Overloaded, match="try again"):
        await pool.run(1, str)
    gate.opened.set()
    assert await first == "done"
    assert await pool.run(10, str) == ""


async def test_work_that_nobody_waits_for_stops_and_gives_its_place_back() -> None:
    pool, running, waiting = BlockingPool(threads=1), Gate(), Gate()
    first = asyncio.create_task(pool.run(5, running))
    second = asyncio.create_task(pool.run(5, waiting))
    await _begun(running)
    first.cancel()
    second.cancel()
    await asyncio.wait([first, second])
    await asyncio.to_thread(running.ended.wait)
    assert running.cancelled
    assert not waiting.begun.is_set()
    assert await pool.run(1, str) == ""
    assert pool.bytes == 0


async def test_the_deadline_ends_the_wait_and_the_work() -> None:
    pool, gate = BlockingPool(threads=1), Gate()
    with pytest.raises(DeadlineExceeded) as raised:
        await pool.run(1, gate, deadline=monotonic() + 0.01)
    assert raised.value.waited == 0.0, "no target was waited for"
    await asyncio.to_thread(gate.ended.wait)
    assert gate.cancelled


async def test_what_failed_work_has_read_is_freed_with_it() -> None:
    class Read:
        """Something large."""

    alive: list[weakref.ref[Read]] = []

    def refuse() -> None:
        read = Read()
        alive.append(weakref.ref(read))
        try:
            raise ValueError
        except ValueError:
            raise InvalidRequest("no") from None

    with pytest.raises(InvalidRequest) as raised:
        await BlockingPool().run(1, refuse)
    assert alive[0]() is None
    assert raised.value.message == "no"
