"""Whose turn it is: a lock that is granted in the order it was asked for."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType


class FairLock:
    """A context manager for threads. A plain Lock may give one thread all the turns."""

    def __init__(self) -> None:
        self._door = threading.Lock()
        self._line: deque[threading.Event] = deque()

    def __enter__(self) -> None:
        mine = threading.Event()
        with self._door:
            self._line.append(mine)
            if self._line[0] is mine:
                mine.set()
        mine.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._door:
            self._line.popleft()
            if self._line:
                self._line[0].set()
