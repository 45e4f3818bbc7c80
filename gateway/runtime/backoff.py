"""When a failed reload is tried again although no file has changed: later each time."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 2.0, 300.0
"""Seconds from the first failure to the next try; they double with each failure, up to the second figure."""


class RetryBackoff:
    """When to try again.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget all failures: nothing is due, and the next failure counts as the first."""
        self._pause = FIRST_RETRY_SECONDS
        self._due_at: float | None = None

    def failed(self) -> None:
        """Take note of a failure."""
        self._due_at = self._clock() + self._pause
        self._pause = min(self._pause * 2, MAX_RETRY_SECONDS)

    def is_due(self) -> bool:
        """Whether it is time for the next try; true once for each failure."""
        if self._due_at is None or self._clock() < self._due_at:
            return False
        self._due_at = None
        return True
