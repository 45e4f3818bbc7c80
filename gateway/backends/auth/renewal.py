"""A credential that ends: fetched in a thread, kept for all requests, and fetched anew before it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from math import inf
from typing import Generic, TypeVar

from msgspec import Struct

from gateway.backends.daemon_thread import in_daemon
from providers.errors import RerankError, TargetTimeout

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

PAUSE_SECONDS = 30.0
"""Between two fetches while a credential is still good: a service that fails is not asked with every request."""


class Lease(Struct, Generic[Value], frozen=True):
    """A credential, and for how long it is one.

    Attributes:
        value: the credential.
        renew_at: from then on another is fetched, while this one is still used. Seconds of `time.time()`.
        ends_at: from then on it is not used.
    """

    value: Value
    renew_at: float = inf
    ends_at: float = inf


class Renewal(Generic[Value]):
    """Holds one credential. However many requests want it, it is fetched once, and none waits for one that is good.

    Args:
        fetch: gets it, and blocks meanwhile; it runs in a thread of its own. Raises RerankError.
        what: is fetched, for messages: `the token of Google Cloud`.
        now: seconds of the clock that leases are on.
    """

    def __init__(self, fetch: Callable[[], Lease[Value]], what: str, now: Callable[[], float] = time.time) -> None:
        self._fetch = fetch
        self._what = what
        self._now = now
        self._lease: Lease[Value] | None = None
        self._fetching: asyncio.Task[Lease[Value]] | None = None
        self._fetched_at = -inf

    @property
    def current(self) -> Value | None:
        """What is held now, good or not; None before the first fetch."""
        return self._lease.value if self._lease is not None else None

    async def get(self, deadline: float) -> Value:
        """The credential. Waits only if none is good, until the deadline in seconds of `time.monotonic()`.

        Raises RerankError if it cannot be had.
        """
        lease, now = self._lease, self._now()
        if lease is None or now >= lease.ends_at:
            return (await self._wait(deadline)).value
        if now >= lease.renew_at and now >= self._fetched_at + PAUSE_SECONDS:
            self._start()
        return lease.value

    def forget(self, value: Value) -> None:
        """Fetch another before the next use, if that one is still what is held."""
        if self._lease is not None and self._lease.value == value:
            self._lease = None

    async def _wait(self, deadline: float) -> Lease[Value]:
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(self._start())
        except TimeoutError:
            raise TargetTimeout(f"{self._what} did not come in time", waited=0.0) from None

    def _start(self) -> asyncio.Task[Lease[Value]]:
        task = self._fetching
        if task is None or task.done():
            self._fetched_at = self._now()
            task = self._fetching = asyncio.create_task(self._renew())
            task.add_done_callback(self._note)
        return task

    async def _renew(self) -> Lease[Value]:
        lease = self._lease = await in_daemon(self._fetch)
        return lease

    def _note(self, task: asyncio.Task[Lease[Value]]) -> None:
        """Log a fetch that failed: where the old credential is still good, no request tells of it."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            reason = error.message if isinstance(error, RerankError) else type(error).__name__
            logger.warning("%s could not be fetched: %s", self._what, reason)
