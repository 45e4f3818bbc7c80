"""A limit to how much one target may be asked at once, and a queue of limited length before it."""

from __future__ import annotations

import asyncio
from collections import deque

from pydantic import Field

from gateway.policy.clock import CLOCK, Clock
from gateway.policy.wrapper import Wrapper
from gateway.settings import Settings
from providers.errors import Overloaded
from providers.types import Backend, Ranking, RerankRequest

RETRY_AFTER = 1.0
"""Seconds after which a caller may come again when the queue was full."""


class BulkheadSettings(Settings):
    """Concurrent calls per target."""

    concurrency: int = Field(default=1000, ge=1, description="Calls in flight to one target at a time.")
    queue: int = Field(
        default=1000, ge=0, description="Calls that may wait for a free slot; further calls go to the next target."
    )


class Bulkhead(Wrapper):
    """Lets so many calls through, keeps so many waiting in order of arrival, and refuses the rest with Overloaded.

    Attributes:
        active: calls under way.
    """

    def __init__(self, backend: Backend, settings: BulkheadSettings, name: str, clock: Clock = CLOCK) -> None:
        self.active = 0
        super().__init__(backend)
        self._settings = settings
        self._name = name
        self._clock = clock
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return len(self._waiting)

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The target's ranking. Raises Overloaded at once if the queue is full, or when its turn came too late."""
        if self.active >= self._settings.concurrency:
            await self._wait_for_slot(request.call.deadline)
        else:
            self.active += 1
        try:
            return await self.backend.rerank(request)
        finally:
            self._release()

    async def _wait_for_slot(self, deadline: float | None) -> None:
        if len(self._waiting) >= self._settings.queue:
            raise Overloaded(
                f"{self._name} is busy with {self.active} calls and its queue is full; try again later",
                retry_after=RETRY_AFTER,
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(None if deadline is None else deadline - self._clock.now()):
                await turn
        except BaseException as error:
            self._leave(turn)
            if isinstance(error, TimeoutError):
                raise Overloaded(
                    f"{self._name} is busy; the call's turn did not come in time", retry_after=RETRY_AFTER
                ) from None
            raise

    def _leave(self, turn: asyncio.Future[None]) -> None:
        """Whoever stops waiting either still stands in the queue, or has just been given a place."""
        if turn in self._waiting:
            self._waiting.remove(turn)
        elif turn.done() and not turn.cancelled():
            self._release()

    def _release(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.active -= 1
