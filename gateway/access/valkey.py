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
from gateway.access.valkey_client import PREFIX, ValkeyClient, script
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
        self._settle = self._client.redis.register_script(script("settle"))
        self._fail_open = fail_open
        self._process = uuid4().hex
        self._numbers = count()

    async def reserve(self, charges: Sequence[Charge]) -> ReserveResult:
        holder_id = f"{self._process}:{next(self._numbers)}"  # two requests may carry the same request id, so not that
        arguments: list[Any] = [holder_id, SLOTS]
        for charge in charges:
            arguments += [charge.kind, charge.limit, charge.amount, _seconds(charge)]

        async def undo(answer: Sequence[Any]) -> None:
            """Give back what was taken for a caller who has left, or was refused because it took too long."""
            if answer[0] < 0:
                given_back = [replace(charge, amount=-charge.amount) for charge in charges]
                await self._run_settle(given_back, _result(answer, holder_id))

        try:
            answer = await self._client.ask(lambda: self._reserve(keys=_keys(charges), args=arguments), undo)
        except StoreDown:
            if self._fail_open:
                return ReserveResult()
            raise
        return _result(answer, holder_id)

    async def settle(self, charges: Sequence[Charge], reserved: ReserveResult) -> None:
        await asyncio.shield(self._client.start(self._run_settle(charges, reserved)))

    async def _run_settle(self, charges: Sequence[Charge], reserved: ReserveResult) -> None:
        arguments: list[Any] = [reserved.holder_id, SLOTS, reserved.at]
        for charge in charges:
            arguments += [charge.kind, charge.amount, _seconds(charge)]
        try:
            await self._client.ask(lambda: self._settle(keys=_keys(charges), args=arguments))
        except StoreDown:
            return  # On the safe side: the reservation counts as used, and its holder ends after `hold_seconds`.

    async def aclose(self) -> None:
        """Wait for the calls under way, and close the connections."""
        await self._client.aclose()


def _result(answer: Sequence[Any], holder_id: str) -> ReserveResult:
    refused, wait, at, *left = answer
    return ReserveResult(refused, float(wait), left, float(at), holder_id)


def _keys(charges: Sequence[Charge]) -> list[str]:
    return [PREFIX + charge.key for charge in charges]


def _seconds(charge: Charge) -> float:
    """The one duration that a charge of its kind has."""
    return charge.window_seconds or charge.keep_seconds or charge.hold_seconds
