"""A local model in the engine process, called over a Unix socket with the gateway's own API."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway import blocking
from gateway.backends.retry_after import retry_after
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
from providers.types import AnswerWarning, ClosableBackend, Ranked, Ranking, RerankRequest, ScoreSpace, Span, Usage

SOCKET_VARIABLE = "RERANK_GATEWAY_ENGINE_SOCKET"
"""The environment variable that holds the path of the engine process's socket, for the workers."""

MAX_CALL_SECONDS = 3600.0
"""Seconds allowed for a call without a deadline."""

POLL_INTERVAL = 0.1
"""Seconds between two checks whether the engine serves a model."""

ADOPT_TIMEOUT = 300.0
"""Seconds in which a running engine must begin to serve a model that a reload has added."""

GATEWAY_FIELDS: Final = frozenset(
    {
        *("request_type", "provider", "latency", "chunk_index", "original_model_requested", "resolved_model_used"),
        *("attempts", "cost", "ignored", "score_space", "warnings"),
    }
)
"""The `extra_fields` of a response that the engine's own gateway adds; the others are details of the model."""

_URL = "http://engine"
_PROBE = Timeouts(connect=2.0, read=2.0, pool=2.0, total=2.0)

_ERROR_CLASSES: Mapping[str, type[RerankError]] = {
    error_class.code: error_class
    for error_class in (InvalidRequest, Unsupported, TargetTimeout, TargetFailed, Overloaded, NotReady)
} | {"deadline_exceeded": TargetTimeout, "unknown_model": NotReady}
"""Our error class for the engine's `error_type`; TargetFailed for any other."""

_encode = msgspec.json.Encoder().encode


class _Response(Struct):
    results: list[Ranked]
    extra_fields: dict[str, Any]
    usage: Usage | None = None


class _SpanRow(Struct):
    index: int
    spans: list[Span] = []


class _SpanRows(Struct):
    results: list[_SpanRow]


class _ErrorBody(Struct):
    message: str
    error_type: str


class _ModelInfo(Struct):
    max_input_length: int


class _Model(Struct):
    id: str
    score_space: ScoreSpace = "unknown"


class _Said(Struct):
    """What the engine says of the scores, and warns of."""

    score_space: ScoreSpace = "unknown"
    warnings: tuple[AnswerWarning, ...] = ()


class _ModelList(Struct):
    data: list[_Model]


_decode_response = msgspec.json.Decoder(_Response).decode
_decode_spans = msgspec.json.Decoder(_SpanRows).decode
_decode_error = msgspec.json.Decoder(_ErrorBody).decode
_decode_model_list = msgspec.json.Decoder(_ModelList).decode
_decode_model_info = msgspec.json.Decoder(_ModelInfo).decode


class RemoteModel:
    """One model of the engine process, as a backend.

    Args:
        name: the model's name in the engine, `provider/model`.
        fields: the extra fields of a request that the model's adapter knows; others are not sent.
        client: sends to the engine's socket. `aclose` closes it.

    Attributes:
        window: the model's context window in tokens; None until `fetch_facts` has succeeded.
        score_space: what its scores are; unknown until then.
    """

    window: int | None = None
    score_space: ScoreSpace = "unknown"

    def __init__(self, name: str, fields: frozenset[str], client: Client) -> None:
        self._name = name
        self._fields = fields
        self._client = client

    async def rerank(self, request: RerankRequest) -> Ranking:
        """Rank with the model in the engine process.

        Raises:
            NotReady: the engine is not running, or does not serve the model yet. Not Unreachable, because the engine is
                being restarted: a retry is pointless, and tripping the breaker would delay recovery.
            TargetTimeout: the request's deadline has passed.
            BadAnswer: the response cannot be decoded.
            RerankError: the engine's own error, in the class it had there; see _ERROR_CLASSES.
        """
        headers = {"content-type": "application/json", "x-request-id": request.call.id}
        seconds = _seconds_left(request)
        headers[REQUEST_TIMEOUT] = str(max(1, int(seconds * 1000)))
        body = await blocking.run(request.call.body_bytes, partial(self._body, request), request.call.deadline)
        timeouts = Timeouts(connect=5.0, read=seconds, pool=seconds, total=seconds)
        try:
            response = await self._client.send("POST", f"{_URL}/v1/rerank", headers, body, timeouts)
        except Unreachable:
            raise NotReady("the engine process is not running; it is being started again") from None
        if response.status != 200:
            raise _error(response)
        ranking = _ranking(response.body)
        return replace(ranking, spans=_spans(response.body)) if request.return_spans else ranking

    async def ready(self) -> bool:
        """Whether the engine has loaded this model."""
        return await self.is_engine_ready() and await self.is_listed()

    async def is_engine_ready(self) -> bool:
        """Whether the engine has loaded all its models."""
        return await self._get("/readyz") is not None

    async def is_listed(self) -> bool:
        """Whether the engine is configured with this model."""
        return await self._listed() is not None

    async def fetch_facts(self) -> None:
        """Read the context window and the score space from the engine."""
        body = await self._get(f"/tei/{self._name}/info")
        self.window = None if body is None else _decode_model_info(body).max_input_length
        listed = await self._listed()
        self.score_space = "unknown" if listed is None else listed.score_space

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()

    async def _listed(self) -> _Model | None:
        body = await self._get("/v1/models")
        models = [] if body is None else _decode_model_list(body).data
        return next((model for model in models if model.id == self._name), None)

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
            "instruction": request.instruction,
            "return_spans": request.return_spans or None,
        }
        extra = {name: value for name, value in request.extra.items() if name in self._fields}
        return _encode({name: value for name, value in {**fields, **extra}.items() if value is not None})


async def open_remote(socket: str, provider: str, fields: frozenset[str], model: LocalModel) -> ClosableBackend:
    """Connect to the engine process and wait until it serves a model.

    While the engine loads its models or is restarted, this waits without a limit: if they cannot be loaded, the engine
    reports that and the whole gateway stops. After a reload the engine is ready with its earlier models, and a model
    that cannot be added is only logged there; then this gives up after ADOPT_TIMEOUT seconds.

    Args:
        socket: path of the engine's Unix socket.
        provider: the configured name of the local provider.
        fields: the extra fields of a request that its adapter knows.
        model: the settings of the model.

    Raises:
        NotReady: the engine serves other models, but not this one.
    """
    settings = ClientSettings(proxy="none", unix_socket=socket, max_answer_bytes=UNLIMITED)
    remote = RemoteModel(f"{provider}/{model.name}", fields, open_client(settings))
    try:
        await _wait_until_served(remote)
        await remote.fetch_facts()
    except BaseException:
        await remote.aclose()
        raise
    return remote


async def _wait_until_served(remote: RemoteModel) -> None:
    absent_since: float | None = None
    while True:
        if await remote.is_engine_ready():
            if await remote.is_listed():
                return
            absent_since = absent_since or monotonic()
            if monotonic() - absent_since > ADOPT_TIMEOUT:
                raise NotReady("the engine process does not serve it; see the log of the gateway for the reason")
        await asyncio.sleep(POLL_INTERVAL)


def _seconds_left(request: RerankRequest) -> float:
    if request.call.deadline is None:
        return MAX_CALL_SECONDS
    seconds = request.call.deadline - monotonic()
    if seconds <= 0:
        raise TargetTimeout("the deadline passed before the local model was called")
    return seconds


def _ranking(body: bytes) -> Ranking:
    try:
        answer = _decode_response(body)
        said = msgspec.convert(answer.extra_fields, _Said)
    except msgspec.MsgspecError as error:
        raise BadAnswer("the response of the engine process could not be decoded") from error
    return Ranking(
        results=answer.results,
        usage=answer.usage,
        details={name: value for name, value in answer.extra_fields.items() if name not in GATEWAY_FIELDS} or None,
        score_space=said.score_space,
        warnings=said.warnings,
    )


def _spans(body: bytes) -> dict[int, list[Span]] | None:
    """Those of the response; None if there are none."""
    spans = {row.index: row.spans for row in _decode_spans(body).results if row.spans}
    return spans or None


def _error(response: Response) -> RerankError:
    try:
        body = _decode_error(response.body)
    except msgspec.MsgspecError:
        return TargetFailed(f"the engine process answered with status {response.status}")
    error_class = _ERROR_CLASSES.get(body.error_type, TargetFailed)
    return error_class(body.message, retry_after=retry_after(response.headers))
