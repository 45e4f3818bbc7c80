"""How fast one model is asked: at once while it can, later when it says that this is too fast."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 1.0, 60.0
"""Pauses double while a model keeps refusing, unless it says how long to wait."""

MAX_REFUSALS = 8
"""How often one question is refused for its pace before it counts as failed."""

TOO_FAST = frozenset({"rate_limited", "overloaded", "limit_reached", "breaker_open", "not_ready"})
"""Codes of errors that pass by themselves."""


class Pace:
    """Shared by all calls of one model.

    Attributes:
        turn: who was refused asks again one after the other, in this lock, and new questions queue behind. So each has
            its turn, however few calls the model takes.

    Args:
        clock: seconds that only grow.
        sleep: waits so many seconds.
    """

    def __init__(
        self, clock: Callable[[], float] = monotonic, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self.turn = asyncio.Lock()
        self._clock = clock
        self._sleep = sleep
        self._until = 0.0
        self._pause = FIRST_PAUSE_SECONDS

    async def wait(self) -> None:
        """Return when the next call may be made."""
        while (left := self._until - self._clock()) > 0:
            await self._sleep(left)

    def refused(self, retry_after: float | None) -> None:
        """Let no call begin for as long as the model asked for, else for a growing time."""
        now = self._clock()
        if now < self._until:  # calls that were under way together are one refusal
            return
        self._until = now + min(MAX_PAUSE_SECONDS, self._pause if retry_after is None else max(retry_after, 0.05))
        self._pause = min(MAX_PAUSE_SECONDS, self._pause * 2)

    def served(self) -> None:
        """Begin with short pauses again."""
        self._pause = FIRST_PAUSE_SECONDS
