"""The hot route, once for all dialects: read, decode, rank, encode, as a raw ASGI handler."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic

from litestar.handlers import asgi
from litestar.handlers.asgi_handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from gateway.api import auth, errors
from gateway.api.body import read_body
from gateway.api.dialect import Dialect, Incoming, Refusal
from gateway.api.disconnect import Watch
from gateway.api.http import method, respond
from gateway.api.ids import request_id
from gateway.errors import CallerGone
from gateway.policy import deadline
from gateway.policy.limits import check_documents
from gateway.service import Service
from providers.errors import RerankError
from providers.types import Call

logger = logging.getLogger(__name__)

DEGRADED = {"x-gateway-degraded": "true"}
"""Sent with an answer that is the last resort's."""


class Endpoint:
    """One dialect, served."""

    def __init__(self, service: Service, dialect: Dialect) -> None:
        self._service = service
        self._dialect = dialect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        call = Call(id=request_id(scope["headers"]))
        call.headers["x-request-id"] = call.id
        if method(scope) != "POST":
            body = self._dialect.refuse(Refusal(405, "use POST", "method_not_allowed", call))
            return await respond(send, 405, body, {"x-request-id": call.id, "allow": "POST"})
        config, headers = self._service.config, dict(scope["headers"])
        try:
            raw = await read_body(receive, headers, config.limits)
            call.deadline = monotonic() + deadline.allowed(config.deadline, headers.get(deadline.NAME))
            incoming = Incoming(raw, scope["path"], scope["headers"], call, self._service.routes.is_alias)
            status, body, extra = await self._unless_gone(receive, incoming)
        except CallerGone:
            return None
        except RerankError as error:
            status, body, extra = self._refused(error, call)
        if self._service.draining:
            extra["connection"] = "close"
        return await respond(send, status, body, {"x-request-id": call.id, **extra})

    async def _unless_gone(self, receive: Receive, incoming: Incoming) -> tuple[int, bytes, dict[str, str]]:
        """The answer. Raises CallerGone if nobody waits for it any more; what was under way for it is cancelled."""
        watch = Watch(receive)
        try:
            return await self._answer(incoming)
        except asyncio.CancelledError:
            if watch.gone:
                raise CallerGone from None
            raise
        finally:
            watch.stop()

    async def _answer(self, incoming: Incoming) -> tuple[int, bytes, dict[str, str]]:
        start = monotonic()
        model = None
        try:
            caller = auth.principal(self._service, incoming.headers)
            asked = self._dialect.decode(incoming)
            model = asked.request.model
            caller.check(model, self._service.fallbacks(model, asked.fallbacks))
            check_documents(asked.request, len(incoming.body), self._service.config.limits)
            ranking = await self._service.rerank(asked.request, asked.fallbacks)
            body = self._dialect.encode(asked, ranking, round((monotonic() - start) * 1000))
            return 200, body, DEGRADED.copy() if ranking.details and ranking.details.get("degraded") else {}
        except RerankError as error:
            return self._refused(error, incoming.call, model)
        except Exception:
            logger.exception("internal error")
            refusal = Refusal(500, "internal error", "internal_error", incoming.call, model)
            return 500, self._dialect.refuse(refusal), {}

    def _refused(self, error: RerankError, call: Call, model: str | None = None) -> tuple[int, bytes, dict[str, str]]:
        refusal = Refusal(errors.status_of(error), error.message, error.code, call, model)
        return refusal.status, self._dialect.refuse(refusal), errors.headers(error)


def route(service: Service, dialect: Dialect) -> ASGIRouteHandler:
    """The dialect under all its paths."""
    endpoint = Endpoint(service, dialect)

    async def rerank(scope: Scope, receive: Receive, send: Send) -> None:
        await endpoint(scope, receive, send)

    return asgi(dialect.paths, copy_scope=False, name=dialect.name)(rerank)
