"""Limit the concurrent calls of one target, with a queue of limited length for the calls beyond that."""

from __future__ import annotations

import asyncio
from collections import deque

from pydantic import Field

from gateway.policy.clock import CLOCK, Clock
from gateway.policy.target_id import TargetId
from gateway.policy.wrapper import Wrapper
from gateway.settings import Settings
from providers.errors import Overloaded
from providers.types import Backend, Ranking, RerankRequest


class BulkheadSettings(Settings):
    """Concurrent calls per target."""

    concurrency: int = Field(default=1000, ge=1, description="Calls in flight to one target at a time.")
    queue: int = Field(
        default=1000, ge=0, description="Calls that may wait for a free slot; further calls go to the next target."
    )


class BulkheadState:
    """The slots of one target and the queue for them.

    Attributes:
        settings: how many slots there are, and how many calls may wait for one.
        active: calls that hold a slot.
    """

    __slots__ = ("_queue", "active", "settings")

    def __init__(self, settings: BulkheadSettings) -> None:
        self.settings = settings
        self.active = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return len(self._queue)

    async def wait(self, seconds: float | None) -> None:
        """Join the queue and return with a slot. Raises TimeoutError when none became free within that time."""
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(slot)
        try:
            async with asyncio.timeout(seconds):
                await slot
        except BaseException:
            self._leave(slot)
            raise

    def release(self) -> None:
        """Hand a slot to the first call in the queue that still wants it; with nobody waiting, it is free."""
        while self._queue:
            slot = self._queue.popleft()
            if not slot.done():
                slot.set_result(None)
                return
        self.active -= 1

    def _leave(self, slot: asyncio.Future[None]) -> None:
        # A call can be cancelled in the very moment it was handed a slot. Unless it passes the slot on, it is lost.
        if slot in self._queue:
            self._queue.remove(slot)
        elif slot.done() and not slot.cancelled():
            self.release()


class Bulkhead(Wrapper):
    """At most so many calls at once. Calls beyond that wait in order of arrival; a full queue raises Overloaded."""

    def __init__(self, backend: Backend, state: BulkheadState, target: TargetId, clock: Clock = CLOCK) -> None:
        super().__init__(backend)
        self._state = state
        self._target = target
        self._clock = clock

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The target's ranking. Raises Overloaded: at once if the queue is full, or when the deadline has passed."""
        state = self._state
        if state.active >= state.settings.concurrency:
            await self._wait_for_slot(request.call.deadline)
        else:
            state.active += 1
        try:
            return await self.backend.rerank(request)
        finally:
            state.release()

    async def _wait_for_slot(self, deadline: float | None) -> None:
        state = self._state
        if state.waiting >= state.settings.queue:
            raise Overloaded(f"{self._target} is busy with {state.active} calls and its queue is full; try again later")
        try:
            await state.wait(None if deadline is None else deadline - self._clock.now())
        except TimeoutError:
            raise Overloaded(f"{self._target} is busy; timed out waiting for a free slot") from None
