"""Writes go out in their order, at the end of a turn of the event loop or when there are many."""

from __future__ import annotations

import asyncio

import pytest

from gateway.http1.write_queue import MAX_PENDING, WriteQueue, write_queue_of


async def test_writes_wait_for_the_end_of_the_turn() -> None:
    queue, written = WriteQueue(), list[int]()
    for number in range(3):
        queue.enqueue(written.append, number)
    assert written == []
    await asyncio.sleep(0)
    assert written == [0, 1, 2]


async def test_no_more_than_a_few_wait() -> None:
    queue, written = WriteQueue(), list[int]()
    for number in range(MAX_PENDING + 1):
        queue.enqueue(written.append, number)
    assert written == list(range(MAX_PENDING))
    await asyncio.sleep(0)
    assert written == list(range(MAX_PENDING + 1))


async def test_a_write_may_put_another() -> None:
    queue, written = WriteQueue(), list[str]()

    def first() -> None:
        written.append("first")
        queue.enqueue(written.append, "second")

    queue.enqueue(first)
    await asyncio.sleep(0)
    assert written == ["first"]
    await asyncio.sleep(0)
    assert written == ["first", "second"]


async def test_one_that_fails_takes_no_other_with_it(caplog: pytest.LogCaptureFixture) -> None:
    queue, written = WriteQueue(), list[int]()
    queue.enqueue(written.remove, 1)
    queue.enqueue(written.append, 2)
    queue.flush()
    assert written == [2]
    assert "a write failed" in caplog.text


async def test_flushing_leaves_nothing_to_do() -> None:
    queue, written = WriteQueue(), list[int]()
    queue.enqueue(written.append, 1)
    queue.flush()
    await asyncio.sleep(0)
    assert written == [1]


async def test_one_queue_for_one_loop() -> None:
    loop = asyncio.get_running_loop()
    assert write_queue_of(loop) is write_queue_of(loop)
