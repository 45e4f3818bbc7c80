"""The probes: liveness, readiness, and whether the start is over.

Readiness is about the whole gateway: it is ready while anything can be served, so that an engine that restarts does not
take the vendors' routes out of service. That every local model has been loaded is the end of the start, a probe of its
own: with it as Kubernetes' `startupProbe`, a rolling update waits for the models.
"""

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

UNNAMED = "a local model is not ready; see /v1/status for its name"
"""Where keys are asked for: probes send none, and whoever has none should not learn the names of models."""


class Health(Struct, omit_defaults=True):
    """How the gateway is.

    Attributes:
        status: `ok` from /livez; `started` from /startupz; from /readyz `ready`, or `degraded` while a local model is
            away and other models can be served.
        detail: which local model is away, and why; absent if none is.
    """

    status: str
    detail: str | None = None


def route(service: Service) -> list[HTTPRouteHandler]:
    """The probes."""

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
        summary="Whether anything can be served",
        tags=["health"],
        security=[{}],
    )
    async def readyz() -> Health:
        if service.draining:
            raise NotReady("the gateway is shutting down")
        reasons = await _reasons(service)
        if not reasons:
            return Health("ready")
        detail = UNNAMED if service.keys is not None else "; ".join(reasons)
        # A provider that is no local one can be asked whenever; whether it serves, only its answers tell.
        if len(reasons) < len(service.routes.local_models()) or any(
            provider.addresses for provider in service.routes.providers.values()
        ):
            return Health("degraded", detail)
        raise NotReady(detail)

    @http(
        "/startupz",
        http_method=METHODS,
        summary="Whether the start is over: every local model has been loaded once",
        tags=["health"],
        security=[{}],
    )
    async def startupz() -> Health:
        if not service.has_loaded:
            reasons = await _reasons(service)
            raise NotReady(UNNAMED if service.keys is not None else "; ".join(reasons) or "the gateway is starting")
        return Health("started")

    return [livez, readyz, startupz]


async def _reasons(service: Service) -> list[str]:
    """Why each local model that is not ready is not."""
    return [
        model.failure or f"local model {model.model.name} is {'away' if model.has_loaded else 'still loading'}"
        for model in service.routes.local_models()
        if not await model.ready()
    ]
