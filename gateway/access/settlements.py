"""Settlements in Valkey or Redis: each is sent until the store has confirmed it, and carried out once.

One whose answer was lost may have been carried out. So each has a number, and the store keeps the numbers that it has
carried out for this process. With each call it is told below which number none will come again, and forgets those
(as of RPCs in "Implementing Linearizability at Large Scale and Low Latency", SOSP 2015).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from itertools import count, islice
from typing import Any

from gateway.access.counters import SLOTS, Charge, ReserveResult
from gateway.access.valkey_charges import KEEP_SECONDS, SINCE, key_of, seconds_of
from gateway.access.valkey_client import PAUSE, PREFIX, ValkeyClient, script
from gateway.errors import StoreDown

logger = logging.getLogger(__name__)

MAX_SETTLEMENTS = 10_000
"""Settlements that wait for the store; the oldest beyond are dropped, and counted in `lost`. Some 1 to 2 KB each."""

RESEND_SECONDS = PAUSE
"""Seconds between two tries while the store does not answer."""

RESEND_CALLS = 8
"""Settlements sent again at a time: the other connections are left to requests."""

LAST_SECONDS = 2.0
"""Seconds that a stopping gateway waits for a store that does not answer."""

LOG_EVERY = 1000
"""Of so many that are dropped one is told of in the log."""

Settlement = tuple[Sequence[Charge], ReserveResult]
"""What to correct, and when and by whom it was reserved."""


class Settlements:
    """Those of one process.

    Args:
        client: asks the store.
        process: tells this process from all others, also from itself before a restart.

    Attributes:
        lost: settlements that were dropped, because too many were waiting or the gateway stopped. What they would have
            given back counts as used, and a holder of `concurrency` ends after `hold_seconds`.
    """

    def __init__(self, client: ValkeyClient, process: str) -> None:
        self._client = client
        self._run = client.redis.register_script(script("settle"))
        self._settled = f"{PREFIX}settled:{process}"
        self._numbers = count(1)
        self._unconfirmed: dict[int, Settlement] = {}
        self._failed: dict[int, None] = {}
        self._resending: asyncio.Task[None] | None = None
        self._is_open = True
        self.lost = 0

    async def settle(self, charges: Sequence[Charge], reserved: ReserveResult) -> None:
        """Correct a reservation: now, or else as soon as the store answers. Never raises."""
        number = next(self._numbers)
        self._unconfirmed[number] = (charges, reserved)
        if len(self._unconfirmed) > MAX_SETTLEMENTS:
            self._drop(next(iter(self._unconfirmed)))
        if not await self._send(number) and number in self._unconfirmed:
            self._failed[number] = None
            self._start_to_resend()

    def _start_to_resend(self) -> None:
        if self._is_open and (self._resending is None or self._resending.done()):
            self._resending = asyncio.create_task(self._resend())

    async def aclose(self) -> None:
        """Wait at most LAST_SECONDS for what failed to be sent again, and for the calls under way."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await self._client.wait()
                if self._resending is not None:
                    await asyncio.wait((self._resending,))
        self._is_open = False
        if self._resending is not None:
            self._resending.cancel()
        await self._client.wait()
        if self._unconfirmed:
            self.lost += len(self._unconfirmed)
            logger.warning("%d settlements were not confirmed by the store", len(self._unconfirmed))

    async def _resend(self) -> None:
        """Send again what failed, oldest first, until nothing is left."""
        while self._failed:
            await asyncio.sleep(RESEND_SECONDS)
            answers = True
            while answers and self._failed:
                oldest = list(islice(self._failed, RESEND_CALLS))
                answers = all(await asyncio.gather(*map(self._send, oldest)))

    async def _send(self, number: int) -> bool:
        """Whether the store has confirmed it, or it was dropped meanwhile."""
        if number not in self._unconfirmed:
            return True

        async def confirm(_: Any) -> None:
            self._forget(number)

        charges, reserved = self._unconfirmed[number]
        keys = [*map(key_of, charges), SINCE, self._settled]
        arguments: list[Any] = [reserved.holder_id, SLOTS, reserved.at]
        for charge in charges:
            arguments += [charge.kind, charge.amount, seconds_of(charge)]
        arguments += [number, next(iter(self._unconfirmed)), KEEP_SECONDS]
        try:
            await self._client.ask(lambda: self._run(keys=keys, args=arguments), confirm)
        except StoreDown:
            return False
        self._forget(number)
        return True

    def _forget(self, number: int) -> None:
        self._unconfirmed.pop(number, None)
        self._failed.pop(number, None)

    def _drop(self, number: int) -> None:
        self._forget(number)
        self.lost += 1
        if self.lost % LOG_EVERY == 1:
            logger.warning("%d settlements were dropped, as too many wait for the store", self.lost)
