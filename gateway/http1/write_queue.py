"""Writes to sockets, made in small groups.

A write is a system call that wakes whoever sleeps at the other end, which costs more than the write; the writes right
after it find him awake. So writes wait for the end of the event loop's turn, but never more than a few of them.
Measured: docs/performance.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVarTuple
from weakref import WeakKeyDictionary

logger = logging.getLogger(__name__)

MAX_PENDING = 16
"""Writes that may wait. A turn may serve a hundred requests and take ten milliseconds, and the first must not wait so
long. Fewer cost more CPU, more make bursts later (docs/performance.md)."""

Arguments = TypeVarTuple("Arguments")


class WriteQueue:
    """The writes of one event loop that wait, in their order."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[..., None], tuple[object, ...]]] = []

    def enqueue(self, write: Callable[[*Arguments], None], *arguments: *Arguments) -> None:
        """Call that soon: with what else is put here now, or when there is enough of it."""
        waiting = self._waiting
        if not waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        waiting.append((write, arguments))
        if len(waiting) >= MAX_PENDING:
            self.flush()

    def flush(self) -> None:
        """Call everything that waits."""
        waiting, self._waiting = self._waiting, []
        for write, arguments in waiting:
            try:
                write(*arguments)
            except Exception:
                logger.exception("a write failed")


_write_queues: WeakKeyDictionary[asyncio.AbstractEventLoop, WriteQueue] = WeakKeyDictionary()


def write_queue_of(loop: asyncio.AbstractEventLoop) -> WriteQueue:
    """The one outbox of that event loop."""
    found = _write_queues.get(loop)
    if found is None:
        found = _write_queues[loop] = WriteQueue()
    return found
