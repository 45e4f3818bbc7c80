"""GET /v1/status: where an operator looks first when something is slow or fails."""

from __future__ import annotations

from importlib.metadata import version
from time import monotonic

from litestar import get
from litestar.handlers.http_handlers import HTTPRouteHandler
from msgspec import Struct

from gateway.api import auth
from gateway.runtime.service import Service
from gateway.telemetry.status import (
    CanaryStatus,
    KeyStatus,
    Percentiles,
    ShadowStatus,
    TargetStatus,
    take_snapshot,
)


class LocalStatus(Struct, omit_defaults=True, kw_only=True):
    """One local model: whether it can serve, why not, and the tokens in its queue."""

    provider: str
    model: str
    ready: bool
    failure: str | None = None
    queued_tokens: int | None = None


class Status(Struct, kw_only=True):
    """The state of the gateway. Counts and percentiles cover all workers since the start.

    Attributes:
        requests: number of finished requests by outcome: ok, error, cancelled.
        overhead_ms: time spent in the gateway itself.
        keys: the providers' keys, by their configured names.
    """

    version: str
    uptime_seconds: int
    in_flight: int
    requests: dict[str, int]
    overhead_ms: Percentiles
    targets: list[TargetStatus]
    keys: list[KeyStatus]
    local: list[LocalStatus]
    shadows: list[ShadowStatus]
    canaries: list[CanaryStatus]


def route(service: Service) -> HTTPRouteHandler:
    """The route."""
    start = monotonic()

    @get(
        "/v1/status",
        guards=[auth.operators_only(service), auth.guard(service)],
        summary="State of targets, keys and local models",
        tags=["health"],
    )
    async def status() -> Status:
        service.telemetry.refresh()
        snapshot = take_snapshot(service.telemetry.metric_store)
        queued = {(queue.provider, queue.model): queue.queued_tokens for queue in snapshot.queues}
        return Status(
            version=version("rerank-gateway"),
            uptime_seconds=int(monotonic() - start),
            in_flight=snapshot.in_flight,
            requests=snapshot.requests,
            overhead_ms=snapshot.overhead_ms,
            targets=snapshot.targets,
            keys=snapshot.keys,
            local=await _local(service, queued),
            shadows=snapshot.shadows,
            canaries=snapshot.canaries,
        )

    return status


async def _local(service: Service, queued: dict[tuple[str, str], int]) -> list[LocalStatus]:
    return [
        LocalStatus(
            provider=provider,
            model=name,
            ready=await backend.ready(),
            failure=backend.failure,
            queued_tokens=queued.get((provider, name)),
        )
        for provider, models in service.routes.models.items()
        for name, backend in models.items()
    ]
