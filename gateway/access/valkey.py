"""Counters in Valkey or Redis, exact over processes and hosts: a reservation is one script, timed by the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any
from uuid import uuid4

from msgspec.structs import replace

from gateway.access.counters import SLOTS, Charge, ReserveResult
from gateway.access.settlements import Settlements
from gateway.access.valkey_charges import KEEP_SECONDS, SINCE, key_of, seconds_of
from gateway.access.valkey_client import ValkeyClient, script
from gateway.errors import StoreDown

CONNECTIONS = 64


class ValkeyStore:
    """Counters shared by all gateways that use the same server and database.

    Args:
        url, timeout, failed, clock: as in ValkeyClient.
        fail_open: let requests through, uncounted, while the store is down; else they are refused.
    """

    def __init__(
        self,
        url: str,
        timeout: float,
        *,
        fail_open: bool,
        failed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = ValkeyClient(url, timeout, CONNECTIONS, failed, clock)
        self._reserve = self._client.redis.register_script(script("reserve"))
        self._fail_open = fail_open
        self._process = uuid4().hex
        self._settlements = Settlements(self._client, self._process)
        self._numbers = count()

    async def reserve(self, charges: Sequence[Charge]) -> ReserveResult:
        holder_id = f"{self._process}:{next(self._numbers)}"  # two requests may carry the same request id, so not that
        arguments: list[Any] = [holder_id, SLOTS]
        for charge in charges:
            arguments += [charge.kind, charge.limit, charge.amount, seconds_of(charge)]
        arguments.append(KEEP_SECONDS)
        keys = [*map(key_of, charges), SINCE]

        async def undo(answer: Sequence[Any]) -> None:
            """Give back what was taken for a caller who has left, or was refused because it took too long."""
            if answer[0] < 0:
                given_back = [replace(charge, amount=-charge.amount) for charge in charges]
                await self._settlements.settle(given_back, _result(answer, holder_id))

        try:
            answer = await self._client.ask(lambda: self._reserve(keys=keys, args=arguments), undo)
        except StoreDown:
            if self._fail_open:
                return ReserveResult()
            raise
        return _result(answer, holder_id)

    async def settle(self, charges: Sequence[Charge], reserved: ReserveResult) -> None:
        await asyncio.shield(self._client.start(self._settlements.settle(charges, reserved)))

    async def aclose(self) -> None:
        """Wait for the calls under way and, for a while, for what is still to be settled; close the connections."""
        await self._settlements.aclose()
        await self._client.aclose()


def _result(answer: Sequence[Any], holder_id: str) -> ReserveResult:
    refused, wait, at, *left = answer
    return ReserveResult(refused, float(wait), left, float(at), holder_id)
