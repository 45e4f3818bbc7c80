"""Writes go out in their order, at the end of a turn of the event loop or when there are many."""

from __future__ import annotations

import asyncio

import pytest

from gateway.http1.write_queue import MAX_PENDING, WriteQueue, write_queue_of


async def test_writes_wait_for_the_end_of_the_turn() -> None:
    outbox, written = WriteQueue(), list[int]()
    for number in range(3):
        outbox.enqueue(written.append, number)
    assert written == []
    await asyncio.sleep(0)
    assert written == [0, 1, 2]


async def test_no_more_than_a_few_wait() -> None:
    outbox, written = WriteQueue(), list[int]()
    for number in range(MAX_PENDING + 1):
        outbox.enqueue(written.append, number)
    assert written == list(range(MAX_PENDING))
    await asyncio.sleep(0)
    assert written == list(range(MAX_PENDING + 1))


async def test_a_write_may_put_another() -> None:
    outbox, written = WriteQueue(), list[str]()

    def first() -> None:
        written.append("first")
        outbox.enqueue(written.append, "second")

    outbox.enqueue(first)
    await asyncio.sleep(0)
    assert written == ["first"]
    await asyncio.sleep(0)
    assert written == ["first", "second"]


async def test_one_that_fails_takes_no_other_with_it(caplog: pytest.LogCaptureFixture) -> None:
    outbox, written = WriteQueue(), list[int]()
    outbox.enqueue(written.remove, 1)
    outbox.enqueue(written.append, 2)
    outbox.flush()
    assert written == [2]
    assert "a write failed" in caplog.text


async def test_flushing_leaves_nothing_to_do() -> None:
    outbox, written = WriteQueue(), list[int]()
    outbox.enqueue(written.append, 1)
    outbox.flush()
    await asyncio.sleep(0)
    assert written == [1]


async def test_one_outbox_for_one_loop() -> None:
    loop = asyncio.get_running_loop()
    assert write_queue_of(loop) is write_queue_of(loop)
