"""The probes: liveness and readiness."""

from __future__ import annotations

from litestar import route as http
from litestar.enums import HttpMethod
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.types import Method
from msgspec import Struct

from gateway.runtime.service import Service
from providers.errors import NotReady

METHODS: list[HttpMethod | Method] = ["GET", "HEAD"]
"""HEAD too: some load balancers and `wget --spider` use it."""


class Health(Struct):
    """`ok` from /livez; `ready` from /readyz, once every local model is loaded."""

    status: str


def route(service: Service) -> list[HTTPRouteHandler]:
    """The three probes."""

    @http(
        "/livez",
        http_method=METHODS,
        sync_to_thread=False,
        summary="Whether the process lives",
        tags=["health"],
        security=[{}],
    )
    def livez() -> Health:
        return Health("ok")

    @http(
        ["/readyz", "/health"],
        http_method=METHODS,
        summary="Whether requests can be served",
        tags=["health"],
        security=[{}],
    )
    async def readyz() -> Health:
        if service.draining:
            raise NotReady("the gateway is shutting down")
        waiting = [
            model.failure or f"local model {model.model.name} is still loading"
            for model in service.routes.local_models()
            if not await model.ready()
        ]
        if waiting and service.keys is not None:
            # Probes send no key, and whoever has none should not learn the names of models.
            raise NotReady("a local model is not ready; see /v1/status for its name")
        if waiting:
            raise NotReady("; ".join(waiting))
        return Health("ready")

    return [livez, readyz]
