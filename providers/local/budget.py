"""How many tokens a batch may hold: fewer after the memory ran out, and step by step as many as before afterwards."""

from __future__ import annotations

RECOVERY_SECONDS, MAX_RECOVERY_SECONDS = 30.0, 1800.0
"""Seconds without an out-of-memory until the budget doubles. The pause doubles where that proved to be too early."""


class BatchBudget:
    """Not safe for threads: only the engine's thread calls its methods.

    Args:
        most: tokens of a batch, padding included, as configured.

    Attributes:
        tokens: how many it may be now.
    """

    def __init__(self, most: int) -> None:
        self.tokens = self._most = most
        self._pause = RECOVERY_SECONDS
        self._recovers_at = 0.0
        self._was_raised = False

    def shrink(self, failed: int, now: float) -> None:
        """Take note that a batch of so many tokens did not fit, `now` in seconds of a clock that only grows."""
        if self._was_raised:
            self._pause = min(self._pause * 2, MAX_RECOVERY_SECONDS)
        # Halves of a batch from before may be larger than the budget is now: their failure is no news.
        self.tokens = max(1, min(self.tokens, failed // 2))
        self._recovers_at, self._was_raised = now + self._pause, False

    def recover(self, now: float) -> None:
        """Double the budget when that is due. Whole again, and so for another pause, it forgets what was."""
        if not self._recovers_at or now < self._recovers_at:
            return
        if self.tokens == self._most:
            self._recovers_at, self._pause, self._was_raised = 0.0, RECOVERY_SECONDS, False
            return
        self.tokens, self._was_raised = min(self.tokens * 2, self._most), True
        self._recovers_at = now + self._pause
