"""A bound on the calls of a client, where its library counts waiting for one as a failure to connect."""

from __future__ import annotations

import asyncio
from time import monotonic

from msgspec.structs import replace

from gateway.transport.base import Timeouts
from gateway.transport.error_map import POOL_FULL
from gateway.transport.network import host_of
from providers.errors import Overloaded

_SHORTEST_CALL_SECONDS = 0.001


class Slots:
    """As many calls at a time as there may be connections. Waiting for one is our affair, never the provider's."""

    def __init__(self, count: int) -> None:
        self._slots = asyncio.Semaphore(count)
        self.release = self._slots.release

    async def acquire(self, url: str, timeouts: Timeouts) -> Timeouts:
        """Wait for permission to call; give it back with `release`. Returns what is left of the timeouts.

        Raises:
            Overloaded: after `pool` seconds, or once `total` has passed.
        """
        if not self._slots.locked():
            await self._slots.acquire()
            return timeouts
        start = monotonic()
        try:
            async with asyncio.timeout(min(timeouts.pool, timeouts.total)):
                await self._slots.acquire()
        except TimeoutError:
            raise Overloaded(POOL_FULL.format(host=host_of(url))) from None
        return replace(timeouts, total=max(timeouts.total - (monotonic() - start), _SHORTEST_CALL_SECONDS))
