"""POST /v1/rerank and its other spellings: the hot route, as a raw ASGI handler."""

from __future__ import annotations

import logging
from time import monotonic

from litestar.handlers import asgi
from litestar.handlers.asgi_handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from gateway.api import answer, errors
from gateway.api.http import method, read_body, respond
from gateway.api.ids import request_id
from gateway.api.request import canonical, decoder
from gateway.errors import CallerGone
from gateway.service import Service
from providers import registry
from providers.errors import RerankError
from providers.types import Call

logger = logging.getLogger(__name__)

PATHS = ["/v1/rerank", "/v2/rerank", "/rerank", "/v1/reranker"]


class RerankEndpoint:
    """Read, validate, rank, answer. Decoder and encoder are built once."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._decode = decoder(field for name in registry.names() for field in registry.find(name).fields)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(id=request_id(scope["headers"]))
        call.headers["x-request-id"] = call.id
        if method(scope) != "POST":
            body = errors.body("use POST", "method_not_allowed", call)
            return await respond(send, 405, body, {"x-request-id": call.id, "allow": "POST"})
        try:
            status, body, headers = await self._answer(await read_body(receive), call)
        except CallerGone:
            return None
        return await respond(send, status, body, {"x-request-id": call.id, **headers})

    async def _answer(self, raw: bytes, call: Call) -> tuple[int, bytes, dict[str, str]]:
        start = monotonic()
        model = None
        try:
            body = self._decode(raw)
            model = body.model
            request = canonical(body, call, self._service.routes.is_alias)
            ranking = await self._service.rerank(request, body.fallbacks)
            return 200, answer.encode(ranking, request, body.documents or [], round((monotonic() - start) * 1000)), {}
        except RerankError as error:
            return errors.status_of(error), errors.body(error.message, error.code, call, model), errors.headers(error)
        except Exception:
            logger.exception("internal error")
            return 500, errors.body("internal error", "internal_error", call, model), {}


def route(service: Service) -> ASGIRouteHandler:
    """The endpoint under all its paths."""
    endpoint = RerankEndpoint(service)

    async def rerank(scope: Scope, receive: Receive, send: Send) -> None:
        await endpoint(scope, receive, send)

    return asgi(PATHS, copy_scope=False, name="rerank")(rerank)
