"""GET /metrics: the metrics of all workers, for Prometheus."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get
from litestar.handlers.http_handlers import HTTPRouteHandler

from gateway.api import auth
from gateway.runtime.service import Service
from gateway.telemetry import prometheus


def route(service: Service) -> list[HTTPRouteHandler]:
    """The route, unless `telemetry.metrics.prometheus` is false."""
    if not service.config.telemetry.metrics.prometheus:
        return []

    @get(
        "/metrics",
        guards=[auth.scrapers_only(service)],
        sync_to_thread=False,
        media_type="text/plain",
        summary="The metrics of all workers, for Prometheus",
        tags=["health"],
    )
    def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
        telemetry = service.telemetry
        telemetry.refresh()
        body, content_type = prometheus.exposition(
            telemetry.metric_store, request.headers.get("accept", ""), telemetry.exemplars
        )
        return Response(body, headers={"content-type": content_type})

    return [metrics]
