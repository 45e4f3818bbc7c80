"""The limits that a server tells of itself, asked for when a request is over those that are known."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from time import monotonic

from gateway.backends.auth import Signer
from gateway.transport.base import Client, Response, Timeouts
from providers.capabilities import Limits
from providers.spec import LimitsApi

logger = logging.getLogger(__name__)

ASK_TIMEOUT = 2.0
"""Seconds until a server has told its limits, or has not."""

MAX_ANSWER_BYTES = 64 * 1024
"""Servers tell their limits in a few hundred bytes. A larger answer is not read: that would hold up all requests."""

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
        self._asking: asyncio.Task[None] | None = None
        self._told: Limits | None = None
        self._until = float("-inf")

    async def ask(self) -> Limits | None:
        """The limits as the server tells them now or told them lately; None if it does not. Never raises.

        The question goes on when whoever waits for it has no more time, so that the next request knows the answer, or
        that there is none.
        """
        if self._asking is None and monotonic() >= self._until:
            self._asking = asyncio.create_task(self._learn())
        if self._asking is not None:
            await asyncio.wait((self._asking,))
        return self._told

    async def aclose(self) -> None:
        """End a question that is under way. The client stays open."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait((self._asking,))

    async def _learn(self) -> None:
        try:
            self._told = await self._ask()
        finally:
            self._until = monotonic() + FRESH_SECONDS
            self._asking = None

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
            return self._decode(answer) if answer.status == 200 else None
        except Exception as error:  # A decoder meets whatever a server says, such as JSON that is too deep.
            logger.warning("provider %s did not tell its limits (%s)", self._name, type(error).__name__)
            return None

    def _decode(self, answer: Response) -> Limits | None:
        if len(answer.body) > MAX_ANSWER_BYTES:
            raise ValueError("too long to be read")
        return self._api.decode(answer.body)
