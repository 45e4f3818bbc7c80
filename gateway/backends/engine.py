"""A local model that the engine process serves: asked over a Unix socket, by our own API."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any, Final

import msgspec
from msgspec import Struct

from gateway.backends.http_errors import retry_after
from gateway.headers import REQUEST_TIMEOUT
from gateway.settings import UNLIMITED
from gateway.transport import open_client
from gateway.transport.base import Client, ClientSettings, Response, Timeouts
from providers.errors import (
    BadAnswer,
    InvalidRequest,
    NotReady,
    Overloaded,
    RerankError,
    TargetError,
    TargetFailed,
    TargetTimeout,
    Unreachable,
    Unsupported,
)
from providers.spec import LocalModel
from providers.types import ClosableBackend, Ranked, Ranking, RerankRequest, Usage

SOCKET_VARIABLE = "RERANK_GATEWAY_ENGINE_SOCKET"
"""The environment variable by which the workers of one gateway know the socket of their engine process."""

MAX_CALL_SECONDS = 3600.0
"""Seconds that a call without a deadline may take."""

POLL_INTERVAL = 0.1
"""Seconds between two looks whether the engine serves a model."""

ADOPT_TIMEOUT = 300.0
"""Seconds that an engine which serves others may take to load one that a reload has added."""

GATEWAY_FIELDS: Final = frozenset(
    {"request_type", "provider", "latency", "chunk_index", "original_model_requested", "attempts", "cost"}
)
"""What every answer of a gateway has in its `extra_fields`; the rest is the model's."""

_URL = "http://engine"
_PROBE = Timeouts(connect=2.0, read=2.0, pool=2.0, total=2.0)

_ERROR_CLASSES: Mapping[str, type[RerankError]] = {
    kind.code: kind for kind in (InvalidRequest, Unsupported, TargetTimeout, TargetFailed, Overloaded, NotReady)
} | {"deadline_exceeded": TargetTimeout, "unknown_model": NotReady}
"""The engine's `error_type` → our class; anything else is TargetFailed."""

_encode = msgspec.json.Encoder().encode


class _Answer(Struct):
    results: list[Ranked]
    extra_fields: dict[str, Any]
    usage: Usage | None = None


class _Refusal(Struct):
    message: str
    error_type: str


class _Info(Struct):
    max_input_length: int


class _Name(Struct):
    id: str


class _Names(Struct):
    data: list[_Name]


_read_answer = msgspec.json.Decoder(_Answer).decode
_read_refusal = msgspec.json.Decoder(_Refusal).decode
_read_names = msgspec.json.Decoder(_Names).decode
_read_info = msgspec.json.Decoder(_Info).decode


class RemoteModel:
    """One model of the engine process. Takes over the client: `aclose` closes it.

    Args:
        name: the engine's name of it, `provider/model`.
        fields: the request's extra fields that its adapter declares.
        client: leads to the engine's socket.

    Attributes:
        window: how many tokens the model reads at once; None until `measure` has asked.
    """

    window: int | None = None

    def __init__(self, name: str, fields: frozenset[str], client: Client) -> None:
        self._name = name
        self._fields = fields
        self._client = client

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The engine's ranking, or its error.

        An engine that is not there is NotReady, not Unreachable: it is being started again, a request learns that in
        no time, and so neither retries nor an open breaker shall keep the next one from finding it back.
        """
        headers = {"content-type": "application/json", "x-request-id": request.call.id}
        left = _time_left(request)
        headers[REQUEST_TIMEOUT] = str(max(1, int(left * 1000)))
        timeouts = Timeouts(connect=5.0, read=left, pool=left, total=left)
        try:
            response = await self._client.send("POST", f"{_URL}/v1/rerank", headers, self._body(request), timeouts)
        except Unreachable:
            raise NotReady("the engine process is not running; it is being started again") from None
        if response.status != 200:
            raise _error(response)
        return _ranking(response.body)

    async def ready(self) -> bool:
        """Whether the engine has loaded it."""
        return await self.engine_ready() and await self.listed()

    async def engine_ready(self) -> bool:
        """Whether the engine has loaded all its models."""
        return await self._get("/readyz") is not None

    async def listed(self) -> bool:
        """Whether the engine knows this model."""
        body = await self._get("/v1/models")
        return body is not None and any(model.id == self._name for model in _read_names(body).data)

    async def fetch_window(self) -> None:
        """Ask how much it reads at once."""
        body = await self._get(f"/tei/{self._name}/info")
        self.window = None if body is None else _read_info(body).max_input_length

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()

    async def _get(self, path: str) -> bytes | None:
        try:
            response = await self._client.send("GET", _URL + path, {}, b"", _PROBE)
        except TargetError:
            return None
        return response.body if response.status == 200 else None

    def _body(self, request: RerankRequest) -> bytes:
        fields = {
            "model": self._name,
            "query": request.query,
            "documents": request.documents,
            "top_n": request.top_n,
            "max_tokens_per_doc": request.max_tokens_per_doc,
            "priority": request.priority,
        }
        extra = {name: value for name, value in request.extra.items() if name in self._fields}
        return _encode({name: value for name, value in {**fields, **extra}.items() if value is not None})


async def open_remote(socket: str, provider: str, fields: frozenset[str], model: LocalModel) -> ClosableBackend:
    """That model as soon as the engine serves it.

    An engine that still loads, or is started again, is waited for: where its models cannot be loaded, the whole gateway
    ends. After a reload the engine serves what it did before until it has loaded what is new, or for good if it cannot.

    Raises:
        NotReady: the engine serves others, but has not begun to serve this one.
    """
    settings = ClientSettings(proxy="none", unix_socket=socket, max_answer_bytes=UNLIMITED)
    remote = RemoteModel(f"{provider}/{model.name}", fields, open_client(settings))
    try:
        await _served(remote)
        await remote.fetch_window()
    except BaseException:
        await remote.aclose()
        raise
    return remote


async def _served(remote: RemoteModel) -> None:
    absent_since: float | None = None
    while True:
        if await remote.engine_ready():
            if await remote.listed():
                return
            absent_since = absent_since or monotonic()
            if monotonic() - absent_since > ADOPT_TIMEOUT:
                raise NotReady("the engine process does not serve it; the log says why")
        await asyncio.sleep(POLL_INTERVAL)


def _time_left(request: RerankRequest) -> float:
    if request.call.deadline is None:
        return MAX_CALL_SECONDS
    left = request.call.deadline - monotonic()
    if left <= 0:
        raise TargetTimeout("the time allowed was over before the local model was asked")
    return left


def _ranking(body: bytes) -> Ranking:
    try:
        answer = _read_answer(body)
    except msgspec.MsgspecError as error:
        raise BadAnswer("the engine process gave an unusable answer") from error
    details = {name: value for name, value in answer.extra_fields.items() if name not in GATEWAY_FIELDS}
    return Ranking(results=answer.results, usage=answer.usage, details=details or None)


def _error(response: Response) -> RerankError:
    try:
        told = _read_refusal(response.body)
    except msgspec.MsgspecError:
        return TargetFailed(f"the engine process answered with status {response.status}")
    kind = _ERROR_CLASSES.get(told.error_type, TargetFailed)
    return kind(told.message, retry_after=retry_after(response.headers))
