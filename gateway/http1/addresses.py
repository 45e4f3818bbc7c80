"""The addresses of one server: looked up at most every half a minute, and kept in use while the resolver is down.

A name that was resolved once outlives a failure of the resolver (RFC 8767): the old addresses are nearly always still
right, and without them every target behind a name would be lost with it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

import aiohappyeyeballs

MAX_AGE_SECONDS = 30.0
"""Addresses older than this are looked up again."""

MAX_STALE_SECONDS = 24 * 3600.0
"""Addresses older than this serve no more, even if the resolver gives no others (RFC 8767 section 5: 1 to 3 days)."""

STALE_WAIT_SECONDS = 1.0
"""How long a look-up may take before the old addresses are used meanwhile. Nothing is heard of a resolver that is down
for 5 s or more, which is all the time that a connection has."""

RETRY_SECONDS = 5.0
"""After a look-up that failed, old addresses serve for so long without another one."""

_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
"""What the resolver says if it works and the name is gone: then the old addresses are wrong."""

_NEVER = float("-inf")

Addresses = Sequence[aiohappyeyeballs.AddrInfoType]


class AddressCache:
    """The addresses of one server. Create and use it on one running event loop."""

    def __init__(self, host: str, port: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._host = host
        self._port = port
        self._addresses: Addresses = ()
        self._resolved_at = self._failed_at = self._asked_at = _NEVER
        self._is_doubtful = False
        self._lookup: asyncio.Task[None] | None = None
        self._first = 0

    async def find(self) -> Addresses:
        """The addresses, each time starting with another one: several addresses are usually several servers.

        Raises:
            OSError: the name cannot be resolved (socket.gaierror).
            UnicodeError: it cannot be a name.
        """
        now = self._loop.time()
        age = now - self._resolved_at
        if age > MAX_AGE_SECONDS or self._is_doubtful:
            if not self._addresses or age > MAX_STALE_SECONDS:
                # Concurrent connections share one look-up, which one of them that is cancelled must not cancel.
                await asyncio.shield(self._look_up())
            elif now - self._failed_at > RETRY_SECONDS:
                await self._refresh(now)
        self._first = (self._first + 1) % len(self._addresses)
        return [*self._addresses[self._first :], *self._addresses[: self._first]]

    def doubt(self) -> None:
        """Look the name up before the next connection: no address has answered, so the server may have moved."""
        self._is_doubtful = True

    async def _refresh(self, now: float) -> None:
        lookup = self._look_up()
        await asyncio.wait([lookup], timeout=max(self._asked_at + STALE_WAIT_SECONDS - now, 0))
        if not self._addresses:
            await asyncio.shield(lookup)  # It has failed, and says why.

    def _look_up(self) -> asyncio.Task[None]:
        if self._lookup is None:
            self._asked_at = self._loop.time()
            self._lookup = asyncio.create_task(self._ask())
            # Nobody may be waiting for it any more: mark its exception as retrieved, or asyncio logs it.
            self._lookup.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._lookup

    async def _ask(self) -> None:
        try:
            addresses = await self._loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            self._addresses, self._resolved_at, self._is_doubtful = addresses, self._loop.time(), False
        except socket.gaierror as error:
            self._failed_at = self._loop.time()
            if error.errno in _NO_SUCH_NAME:
                self._addresses = ()
            raise
        finally:
            self._lookup = None
