"""The hot route, once for all dialects, as a raw ASGI handler: read, decode, call `ranking.rank`, encode."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from time import monotonic
from typing import Any

from litestar.handlers import asgi
from litestar.handlers.asgi_handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send
from msgspec.structs import replace

from gateway import blocking
from gateway.api import auth, errors
from gateway.api.body import header_values, read_body
from gateway.api.dialect import AnyDialect, DecodedRequest, ErrorReply, IncomingRequest
from gateway.api.disconnect import DisconnectWatcher
from gateway.api.http import method, respond
from gateway.api.origins import check_origin
from gateway.api.request_id import request_id
from gateway.api.size_limits import check_structure
from gateway.errors import CallerGone
from gateway.headers import REQUEST_TIMEOUT_BYTES
from gateway.policy import deadline
from gateway.runtime.ranking import rank
from gateway.runtime.service import Service
from gateway.suggestions import MAX_NAME_LENGTH
from gateway.telemetry.exchange import Exchange
from providers.errors import CallerError, RerankError
from providers.types import Ranking

logger = logging.getLogger(__name__)

DEGRADED = {"x-gateway-degraded": "true"}
"""Sent with an answer that no model ranked."""


STRUCTURED_BYTES = 32 * 1024
"""Up to this size any body is decoded at once. A larger one must be a single object, of texts and lists of texts: where
objects are in it, each value takes a hundred times as long."""

SPAN_BYTES = 64
"""What writing one span costs, in bytes of a body. An answer with spans may be far larger than its request."""


class Endpoint:
    """One dialect, served."""

    def __init__(self, service: Service, dialect: AnyDialect) -> None:
        self._service = service
        self._dialect = dialect
        self._observer = service.observer
        self._paths = frozenset(dialect.paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = scope["headers"]
        exchange = self._observer.begin(self._dialect.name, self._route(scope["path"]), request_id(headers), headers)
        try:
            await self._serve(exchange, scope, receive, send)
        finally:
            self._observer.end(exchange)
        self._service.shadow(exchange)

    async def _serve(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        call = exchange.call
        if method(scope) != "POST":
            body = self._dialect.encode_error(
                ErrorReply(405, "use POST", "method_not_allowed", call, trace_id=exchange.recorded_trace_id)
            )
            exchange.error_type = "method_not_allowed"
            exchange.finish(405, body)
            return await respond(scope, send, 405, body, {"x-request-id": call.id, "allow": "POST"})
        config, headers = self._service.config, header_values(scope["headers"])
        try:
            caller = auth.principal(self._service, scope["headers"])
            exchange.caller = caller.name
            if self._service.keys is None:
                check_origin(headers, config.server.cors)
            raw = await read_body(receive, headers, config.request_limits)
            seconds = deadline.allowed(config.deadline, headers.get(REQUEST_TIMEOUT_BYTES))
            call = exchange.call = replace(call, deadline=monotonic() + seconds, body_bytes=len(raw))
            exchange.bytes_in = len(raw)
            incoming = IncomingRequest(
                raw,
                scope["path"],
                scope["headers"],
                call,
                self._service.routes.is_alias,
                caller,
                config.request_limits,
            )
            status, body, extra = await self._unless_gone(receive, incoming, exchange)
        except CallerGone:
            return None
        except RerankError as error:
            status, body, extra = self._error_reply(error, exchange)
        if self._service.draining:
            extra["connection"] = "close"
        exchange.finish(status, body)
        return await respond(
            scope, send, status, body, {"x-request-id": exchange.call.id, **exchange.headers(), **extra}
        )

    async def _unless_gone(
        self, receive: Receive, incoming: IncomingRequest, exchange: Exchange
    ) -> tuple[int, bytes, dict[str, str]]:
        """The answer. Raises CallerGone if nobody waits for it any more; what was under way for it is cancelled."""
        watch = DisconnectWatcher(receive)
        try:
            return await self._answer(incoming, exchange)
        except asyncio.CancelledError:
            if watch.gone:
                raise CallerGone from None
            raise
        finally:
            watch.stop()

    async def _answer(self, incoming: IncomingRequest, exchange: Exchange) -> tuple[int, bytes, dict[str, str]]:
        start = monotonic()
        model = None
        try:
            decoded = await self._decode(incoming, exchange)
            request = decoded.request
            model = request.model[:MAX_NAME_LENGTH]
            exchange.document_id = decoded.document_id
            result = await rank(
                self._service, incoming.caller, request, decoded.fallbacks, exchange, len(incoming.body)
            )
            encode = partial(self._dialect.encode, decoded, result.ranking, round((monotonic() - start) * 1000))
            body = await blocking.run(len(incoming.body) + _spans_size(result.ranking), encode)
            return 200, body, {**result.headers, **DEGRADED} if result.degraded else result.headers
        except RerankError as error:
            return self._error_reply(error, exchange, model)
        except Exception:
            logger.exception("internal error")
            exchange.ranking, exchange.error_type = None, "internal_error"
            reply = ErrorReply(
                500, "internal error", "internal_error", incoming.call, model, trace_id=exchange.recorded_trace_id
            )
            return 500, self._dialect.encode_error(reply), {}

    async def _decode(self, incoming: IncomingRequest, exchange: Exchange) -> DecodedRequest[Any]:
        try:
            if _is_quick(incoming.body):
                return self._read(incoming)
            read = partial(self._read, incoming)
            return await blocking.POOL.run(len(incoming.body), read, incoming.call.deadline)
        finally:
            exchange.call = incoming.call  # The body may have given the call another id.

    def _read(self, incoming: IncomingRequest) -> DecodedRequest[Any]:
        check_structure(incoming.body, incoming.limits)
        return self._dialect.decode(incoming)

    def _error_reply(
        self, error: RerankError, exchange: Exchange, model: str | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        exchange.error_type = error.code
        if isinstance(error, CallerError):
            exchange.error = error.message
        status = self._dialect.status(error)
        reply = ErrorReply(status, error.message, error.code, exchange.call, model, error, exchange.recorded_trace_id)
        return status, self._dialect.encode_error(reply), errors.headers(error)

    def _route(self, path: str) -> str:
        """The path as it is served: never with what a caller put into it."""
        return path if path in self._paths else self._dialect.paths[0]


def _is_quick(body: bytes) -> bool:
    """Whether the body is decoded in less time than a thread would take, or so little that the event loop can wait."""
    size = len(body)
    return size <= STRUCTURED_BYTES or (size <= blocking.INLINE_BYTES and body.find(b"{", body.find(b"{") + 1) < 0)


def _spans_size(ranking: Ranking) -> int:
    return SPAN_BYTES * sum(map(len, ranking.spans.values())) if ranking.spans else 0


def route(service: Service, dialect: AnyDialect) -> ASGIRouteHandler:
    """The dialect under all its paths."""
    endpoint = Endpoint(service, dialect)

    async def rerank(scope: Scope, receive: Receive, send: Send) -> None:
        await endpoint(scope, receive, send)

    return asgi(dialect.paths, copy_scope=False, name=dialect.name)(rerank)
