"""The limits that a server tells of itself, asked for when a request is over those that are known."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from time import monotonic

from gateway.backends.auth import Signer
from gateway.transport.base import Client, Timeouts
from providers.capabilities import Limits
from providers.errors import RerankError
from providers.spec import LimitsApi

logger = logging.getLogger(__name__)

ASK_TIMEOUT = 2.0
"""Seconds that a caller's request waits for the answer."""

FRESH_SECONDS = 60.0
"""For so long an answer, or that there was none, is not asked for again: servers are restarted with other limits."""

_TIMEOUTS = Timeouts(connect=ASK_TIMEOUT, read=ASK_TIMEOUT, pool=ASK_TIMEOUT, total=ASK_TIMEOUT)


class ServerLimits:
    """What a server says of its limits.

    Args:
        name: of the provider, for the log.
        urls: of servers of the same models. All are asked at once, and the first that tells its limits is believed: a
            request waits for it, and must not wait for those that are dead.
        api: how its answer is read.
        client: what carries the question. Whoever opened it closes it.
        signer: of the provider's first key.
    """

    def __init__(self, name: str, urls: Sequence[str], api: LimitsApi, client: Client, signer: Signer) -> None:
        self._name, self._urls, self._api, self._client, self._signer = name, urls, api, client, signer
        self._lock = asyncio.Lock()
        self._told: Limits | None = None
        self._until = float("-inf")

    async def ask(self) -> Limits | None:
        """The limits as the server tells them now or told them lately; None if it does not. Never raises."""
        async with self._lock:
            if monotonic() >= self._until:
                self._told = await self._ask()
                self._until = monotonic() + FRESH_SECONDS
        return self._told

    async def _ask(self) -> Limits | None:
        asked = [asyncio.create_task(self._ask_at(url)) for url in self._urls]
        try:
            for answer in asyncio.as_completed(asked):
                limits = await answer
                if limits is not None:
                    return limits
            return None
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _ask_at(self, url: str) -> Limits | None:
        try:
            async with asyncio.timeout(ASK_TIMEOUT):
                headers = {"accept": "application/json", "user-agent": "rerank-gateway"}
                signed = await self._signer.sign("GET", url, headers, b"", monotonic() + ASK_TIMEOUT)
                answer = await self._client.send("GET", url, {**headers, **signed}, b"", _TIMEOUTS)
            return self._api.decode(answer.body) if answer.status == 200 else None
        except (RerankError, TimeoutError, ValueError) as error:
            logger.warning("provider %s did not tell its limits (%s)", self._name, type(error).__name__)
            return None
