"""A lock for threads that is granted in the order in which they asked for it."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType


class FairLock:
    """A context manager. A plain `threading.Lock` may be granted to the same thread again and again."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: deque[threading.Event] = deque()

    def __enter__(self) -> None:
        # An event for each who waits: a release wakes the next in line, and nobody else.
        turn = threading.Event()
        with self._mutex:
            self._waiting.append(turn)
            if self._waiting[0] is turn:
                turn.set()
        turn.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._mutex:
            self._waiting.popleft()
            if self._waiting:
                self._waiting[0].set()
