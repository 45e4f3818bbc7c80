"""Batch writes to sockets.

Each write wakes the process at the other end, which costs more CPU than the write itself. Writes made just after one
are nearly free, because that process is still awake. So writes are queued and made together at the end of the event
loop's iteration, or earlier once a few have gathered. Measured in docs/performance.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVarTuple
from weakref import WeakKeyDictionary

logger = logging.getLogger(__name__)

MAX_PENDING = 16
"""Writes that are queued before all of them are made at once.

One iteration of the event loop can serve a hundred requests and take ten milliseconds; the first response must not wait
that long. A lower number costs more CPU, a higher one delays bursts (docs/performance.md)."""

Arguments = TypeVarTuple("Arguments")


class WriteQueue:
    """The pending writes of one event loop, first in, first out."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: list[tuple[Callable[..., None], tuple[object, ...]]] = []

    def enqueue(self, write: Callable[[*Arguments], None], *arguments: *Arguments) -> None:
        """Call `write(*arguments)` at the end of this iteration, or now if the queue is full. Needs a running loop."""
        pending = self._pending
        if not pending:
            asyncio.get_running_loop().call_soon(self.flush)
        pending.append((write, arguments))
        if len(pending) >= MAX_PENDING:
            self.flush()

    def flush(self) -> None:
        """Make all pending writes now. One that raises is logged and does not stop the others."""
        pending, self._pending = self._pending, []
        for write, arguments in pending:
            try:
                write(*arguments)
            except Exception:
                logger.exception("a write failed")


_write_queues: WeakKeyDictionary[asyncio.AbstractEventLoop, WriteQueue] = WeakKeyDictionary()


def write_queue_of(loop: asyncio.AbstractEventLoop) -> WriteQueue:
    """The write queue of this event loop; all connections on the loop share it."""
    queue = _write_queues.get(loop)
    if queue is None:
        queue = _write_queues[loop] = WriteQueue()
    return queue
