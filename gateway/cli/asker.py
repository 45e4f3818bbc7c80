"""Whom the command line asks to rank: a gateway in this process, or one that runs elsewhere."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import monotonic
from typing import Any, Protocol

import httpx
import msgspec
from msgspec.structs import replace

from gateway.access.keys import ANYONE
from gateway.api.dialects.unified import answer
from gateway.api.dialects.unified.request import Body, to_request
from gateway.api.request_id import request_id
from gateway.backends.engine import MAX_CALL_SECONDS
from gateway.config.loader import read_config
from gateway.routing.endpoints import endpoint
from gateway.runtime.ranking import rank
from gateway.runtime.service import Service
from gateway.server.banner import KEY_VARIABLE
from gateway.telemetry.exchange import Exchange
from gateway.telemetry.recorder import RequestRecorder
from providers.errors import InvalidRequest, TargetFailed, Unreachable
from providers.types import Call

HTTP_TIMEOUT = 300.0
"""Seconds without a sign of life after which a gateway elsewhere is given up."""

Reply = dict[str, Any]
"""The body of a 200 of /v1/rerank, whole, as JSON holds it."""


class Asker(Protocol):
    """Ranks one request at a time, or several at once."""

    async def ask(self, body: Body) -> Reply:
        """The answer to a request as callers write it. Raises RerankError."""
        ...


def open_asker(url: str | None, config: str | None) -> AbstractAsyncContextManager[Asker]:
    """The gateway at that URL; without one, a gateway in this process with that configuration file, if any.

    Raises (when entered): ConfigError.
    """
    return over_http(url) if url else in_process(config)


@asynccontextmanager
async def in_process(config: str | None) -> AsyncIterator[Asker]:
    """A gateway in this process."""
    service = Service(read_config(config))
    await service.open()
    try:
        yield InProcess(service)
    finally:
        await service.aclose()


@asynccontextmanager
async def over_http(url: str) -> AsyncIterator[Asker]:
    """A gateway that runs elsewhere."""
    async with httpx.AsyncClient(timeout=HTTP_TIMEOUT) as client:
        yield OverHttp(client, url)


class InProcess:
    """Asks an open service, within its limits. Local models are loaded when they are first needed.

    There is no key: whoever can read the configuration needs none, and nobody's usage grows.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def ask(self, body: Body) -> Reply:
        call = Call(id=request_id([]), recorder=RequestRecorder())
        request = to_request(body, call, self._service.routes.is_alias)
        await self._service.load(request.model)
        start = monotonic()
        call = replace(call, deadline=start + MAX_CALL_SECONDS)  # whoever waits at the terminal can end it earlier
        request = replace(request, call=call)
        result = await rank(self._service, ANYONE, request, body.fallbacks, Exchange("cli", call, start))
        latency = round((monotonic() - start) * 1000)
        reply: Reply = msgspec.to_builtins(answer.build(result.ranking, request, body.documents or [], latency))
        return reply


class OverHttp:
    """Asks the gateway at a URL, with the key in RERANK_GATEWAY_KEY if there is one.

    Args:
        client: stays the caller's to close.
        url: a base, or the whole endpoint.
    """

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url

    async def ask(self, body: Body) -> Reply:
        content = msgspec.json.encode(body)
        try:
            response = await self._client.post(endpoint(self._url, "/v1/rerank"), content=content, headers=_headers())
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"cannot reach {self._url}: {error}") from None
        return self._reply(response)

    def _reply(self, response: httpx.Response) -> Reply:
        try:
            reply = response.json()
            if response.status_code == 200:
                msgspec.convert(reply, answer.Answer)
                return dict(reply)
            refusal = msgspec.convert(reply, _Refusal)
        except (ValueError, RecursionError):
            status = f"HTTP {response.status_code}"
            raise TargetFailed(f"{self._url} does not answer like a rerank-gateway ({status})") from None
        raise InvalidRequest(f"{refusal.message} (HTTP {response.status_code})")


class _Refusal(msgspec.Struct):
    message: str


def _headers() -> dict[str, str]:
    key = os.environ.get(KEY_VARIABLE)
    return {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
