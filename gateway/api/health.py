"""Liveness and readiness."""

from __future__ import annotations

from litestar import get
from litestar.handlers.http_handlers import HTTPRouteHandler
from msgspec import Struct

from gateway.service import Service
from providers.errors import NotReady


class Health(Struct):
    """`ok` while the process lives, `ready` once every local model is loaded."""

    status: str


def route(service: Service) -> list[HTTPRouteHandler]:
    """The three probes."""

    @get("/livez", sync_to_thread=False, summary="Whether the process lives", tags=["health"])
    def livez() -> Health:
        return Health("ok")

    @get(["/readyz", "/health"], summary="Whether requests can be served", tags=["health"])
    async def readyz() -> Health:
        if service.draining:
            raise NotReady("the gateway is shutting down")
        waiting = [
            model.failure or f"local model {model.model.name} is still loading"
            for model in service.routes.loading()
            if not await model.ready()
        ]
        if waiting:
            raise NotReady("; ".join(waiting))
        return Health("ready")

    return [livez, readyz]
