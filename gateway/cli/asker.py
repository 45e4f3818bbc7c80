"""Whom the command line asks to rank: a gateway in this process, or one that runs elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import monotonic
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import httpx
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway.access.keys import ANYONE
from gateway.api.dialects.unified import answer
from gateway.api.dialects.unified.request import Body, to_request
from gateway.api.request_id import request_id
from gateway.backends.engine import MAX_CALL_SECONDS
from gateway.backends.retry_after import retry_after
from gateway.config.loader import read_config
from gateway.routing.endpoints import endpoint
from gateway.routing.facts import ModelFacts, facts_of
from gateway.runtime.ranking import rank
from gateway.runtime.service import Service
from gateway.server.banner import KEY_VARIABLE
from gateway.telemetry.exchange import Exchange
from gateway.telemetry.recorder import RequestRecorder
from providers.capabilities import Scoring
from providers.errors import InvalidRequest, RerankError, TargetFailed, Unreachable
from providers.types import Call

URL_VARIABLE = "RERANK_GATEWAY_URL"
"""The environment variable with the URL of a gateway elsewhere."""

MAX_NAMES_SHOWN = 20
"""Names of models that one message holds."""

HTTP_TIMEOUT = 300.0
"""Seconds without a sign of life after which a gateway elsewhere is given up."""

Reply = dict[str, Any]
"""The body of a 200 of /v1/rerank, whole, as JSON holds it."""


class GatewayUnreachable(Unreachable):
    """The gateway elsewhere cannot be reached: it, not the target behind it."""


class GatewayRefusal(InvalidRequest):
    """A gateway elsewhere answered with an error.

    Attributes:
        error_type: the code of the error as that gateway gives it.
    """

    def __init__(self, message: str, error_type: str, status: int, retry_after: float | None) -> None:
        super().__init__(message, status=status, retry_after=retry_after)
        self.error_type = error_type


def error_type(error: RerankError) -> str:
    """The code of an error, wherever it was raised."""
    return error.error_type if isinstance(error, GatewayRefusal) else error.code


class Asker(Protocol):
    """Ranks one request at a time, or several at once."""

    async def ask(self, body: Body) -> Reply:
        """The answer to a request as callers write it. Raises RerankError."""
        ...

    async def find_model(self, name: str | None) -> tuple[str, ModelFacts]:
        """A model's name, and what is known of it.

        Args:
            name: as the user wrote it; None asks for the one that needs no name: the default, or the only one.

        Raises:
            InvalidRequest: there is no such one, with the names that there are.
            RerankError: the gateway elsewhere does not answer.
        """
        ...


def open_asker(url: str | None, config: str | None, timeout: float | None = None) -> AbstractAsyncContextManager[Asker]:
    """The gateway at that URL; without one, a gateway in this process with that configuration file, if any.

    Args:
        url: of a running gateway.
        config: path of a configuration.
        timeout: seconds for which whoever asks will wait; by default the limits here.

    Raises (when entered): ConfigError.
    """
    return over_http(url, max(HTTP_TIMEOUT, timeout or 0)) if url else in_process(config)


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
async def over_http(url: str, patience: float = HTTP_TIMEOUT) -> AsyncIterator[Asker]:
    """A gateway that runs elsewhere, given up after that many seconds without a sign of life."""
    async with httpx.AsyncClient(timeout=patience) as client:
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
        whole = answer.build(result.ranking, request, body.documents or [], latency)
        reply: Reply = msgspec.json.decode(msgspec.json.encode(whole))  # with lists in place of tuples, as over HTTP
        return reply

    async def find_model(self, name: str | None) -> tuple[str, ModelFacts]:
        routes = self._service.routes
        chosen = name or routes.default_model()
        if chosen is None:
            raise InvalidRequest(_which_model(routes.names()))
        return chosen, facts_of(self._service.config, chosen)


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
            response = await self._client.post(
                endpoint(self._url, "/v1/rerank"), content=content, headers=key_headers()
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise GatewayUnreachable(f"cannot reach {self._url}: {error}") from None
        return self._reply(response)

    async def find_model(self, name: str | None) -> tuple[str, ModelFacts]:
        listing = msgspec.convert(await self._list_models(), _Listing)
        listed = listing.data
        name = name or listing.default_model or (listed[0].id if len(listed) == 1 else None)
        if name is None:
            raise InvalidRequest(_which_model([model.id for model in listed]))
        facts = next((ModelFacts(model.scoring, model.max_documents) for model in listed if model.id == name), None)
        return name, facts or ModelFacts()

    async def _list_models(self) -> Reply:
        try:
            response = await self._client.get(models_url(self._url), headers=key_headers())
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise GatewayUnreachable(f"cannot reach {self._url}: {error}") from None
        return self._reply(response, _Listing)

    def _reply(self, response: httpx.Response, shape: type[Struct] = answer.Answer) -> Reply:
        try:
            reply = response.json()
            if response.status_code == 200:
                msgspec.convert(reply, shape)
                return dict(reply)
            refusal = msgspec.convert(reply, _Refusal)
        except (ValueError, RecursionError):
            status = f"HTTP {response.status_code}"
            raise TargetFailed(f"{self._url} does not answer like a rerank-gateway ({status})") from None
        message, wait = f"{refusal.message} (HTTP {response.status_code})", retry_after(response.headers)
        raise GatewayRefusal(message, refusal.error_type, response.status_code, wait)


class _Refusal(Struct):
    message: str
    error_type: str = InvalidRequest.code


class _Listed(Struct):
    id: str
    scoring: Scoring = "unknown"
    max_documents: int | None = None


class _Listing(Struct):
    """The answer of /v1/models, of this version or of one that tells names alone."""

    data: list[_Listed]
    default_model: str | None = None


def _which_model(names: Sequence[str]) -> str:
    if not names:
        return "no model is known by name; name one with --model, as provider/model"
    shown = ", ".join(names[:MAX_NAMES_SHOWN]) + (", …" if len(names) > MAX_NAMES_SHOWN else "")
    return f"name one of the models with --model: {shown}"


def models_url(url: str) -> str:
    """Where the gateway that a user names lists its models."""
    parts = urlsplit(endpoint(url, "/v1/rerank"))
    prefix = re.sub(r"(/v\d+)?/[^/]*$", "", parts.path)
    return urlunsplit(parts._replace(path=f"{prefix}/v1/models", query=""))


def key_headers() -> dict[str, str]:
    """The headers of a request, with the key in the environment. Raises InvalidRequest for one that is none."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise InvalidRequest(f"{KEY_VARIABLE} is not a key: it holds characters that no header can carry")
    return {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
