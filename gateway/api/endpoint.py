"""The hot route, once for all dialects: read, decode, rank, encode, as a raw ASGI handler."""

from __future__ import annotations

import logging
from time import monotonic

from litestar.handlers import asgi
from litestar.handlers.asgi_handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from gateway.api import auth, errors
from gateway.api.dialect import Dialect, Incoming, Refusal
from gateway.api.http import method, read_body, respond
from gateway.api.ids import request_id
from gateway.errors import CallerGone
from gateway.service import Service
from gateway.suggestions import LONGEST_NAME
from gateway.telemetry.exchange import Exchange
from providers.errors import RerankError
from providers.types import Call

logger = logging.getLogger(__name__)


class Endpoint:
    """One dialect, served."""

    def __init__(self, service: Service, dialect: Dialect) -> None:
        self._service = service
        self._dialect = dialect
        self._telemetry = service.telemetry
        self._paths = frozenset(dialect.paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        call = Call(id=request_id(scope["headers"]))
        call.headers["x-request-id"] = call.id
        exchange = Exchange(self._dialect.name, call, monotonic(), self._route(scope["path"]))
        self._telemetry.began(exchange, scope["headers"])
        try:
            await self._serve(exchange, scope, receive, send)
        finally:
            self._telemetry.ended(exchange)

    async def _serve(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        call = exchange.call
        if method(scope) != "POST":
            body = self._dialect.refuse(Refusal(405, "use POST", "method_not_allowed", call))
            exchange.error_type = "method_not_allowed"
            exchange.finish(405, body)
            return await respond(send, 405, body, {"x-request-id": call.id, "allow": "POST"})
        try:
            raw = await read_body(receive)
        except CallerGone:
            return None
        incoming = Incoming(raw, scope["path"], scope["headers"], call, self._service.routes.is_alias)
        exchange.bytes_in = len(raw)
        status, body, headers = await self._answer(incoming, exchange)
        exchange.finish(status, body)
        return await respond(send, status, body, {"x-request-id": call.id, **exchange.headers(), **headers})

    async def _answer(self, incoming: Incoming, exchange: Exchange) -> tuple[int, bytes, dict[str, str]]:
        start = monotonic()
        model = None
        try:
            caller = auth.principal(self._service, incoming.headers)
            exchange.caller = caller.name
            asked = self._dialect.decode(incoming)
            exchange.request = asked.request
            model = asked.request.model[:LONGEST_NAME]
            ranking, headers = await self._service.rerank_for(caller, asked.request, asked.fallbacks)
            exchange.ranking, exchange.cost = ranking, ranking.cost
            return 200, self._dialect.encode(asked, ranking, round((monotonic() - start) * 1000)), headers
        except RerankError as error:
            exchange.error_type = error.code
            status = self._dialect.status(error)
            refusal = Refusal(status, error.message, error.code, incoming.call, model, error)
            return refusal.status, self._dialect.refuse(refusal), errors.headers(error)
        except Exception:
            logger.exception("internal error")
            exchange.ranking, exchange.error_type = None, "internal_error"
            refusal = Refusal(500, "internal error", "internal_error", incoming.call, model)
            return 500, self._dialect.refuse(refusal), {}

    def _route(self, path: str) -> str:
        """The path as it is served: never with what a caller put into it."""
        return path if path in self._paths else self._dialect.paths[0]


def route(service: Service, dialect: Dialect) -> ASGIRouteHandler:
    """The dialect under all its paths."""
    endpoint = Endpoint(service, dialect)

    async def rerank(scope: Scope, receive: Receive, send: Send) -> None:
        await endpoint(scope, receive, send)

    return asgi(dialect.paths, copy_scope=False, name=dialect.name)(rerank)
