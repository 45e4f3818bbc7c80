"""The composition root: from a configuration to a Litestar application whose lifespan opens and closes everything."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, ControllerRouterHandler

from gateway.api import endpoint, errors, mounts, openapi
from gateway.api.dialects.unified import dialect as rerank
from gateway.api.middleware.hosts import TrustedHostMiddleware
from gateway.api.middleware.paths import PathNormalization
from gateway.api.middleware.request_id import RequestIdMiddleware
from gateway.api.resources import health, metrics, models, status, usage
from gateway.config.loader import CONFIG_VARIABLE, read_config
from gateway.config.root import Config
from gateway.runtime import signals
from gateway.runtime.reload import Reloader
from gateway.runtime.service import Service
from gateway.telemetry import logs
from providers.errors import RerankError


def create(
    config: Config,
    loaded: Callable[[RerankError | None], None] = lambda error: None,
    path: str | None = None,
    service: Service | None = None,
    read: Callable[[str], Config] | None = None,
) -> Litestar:
    """The application of one configuration.

    Args:
        config: checked.
        loaded: called once, when every local model is loaded, or with the error of the one that cannot be.
        path: the configuration's file, to be watched.
        service: of that configuration; by default, one that tells of everything it does.
        read: gives the configuration in the file after a change; by default, all of it.
    """
    service = service or Service(config)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        await service.open()
        service.telemetry.open()
        loading = asyncio.create_task(_load(service, loaded))
        try:
            async with _reloads(service, path, read or read_config) as reload:
                with signals.handled(service, config.server.drain, reload):
                    yield
        finally:
            loading.cancel()
            await service.aclose()
            await service.telemetry.aclose()

    unified = endpoint.route(service, rerank.dialect(lambda: service.routes.default_model()))
    app = Litestar(
        route_handlers=[unified, *_routes(service)],
        lifespan=[lifespan],
        exception_handlers={
            HTTPException: errors.http_exception,
            RerankError: errors.rerank_error,
            Exception: errors.unexpected,
        },
        openapi_config=openapi.config(),
        cors_config=_cors(config.server.cors),
        logging_config=None,
        debug=False,
    )
    # Browsers' preflight requests are the framework's; else the hot route is reached without its routing.
    direct = app.asgi_handler if config.server.cors else unified.fn
    app.asgi_handler = _guarded(app.asgi_handler, direct, config)
    return app


def from_environment() -> Litestar:
    """The application of the file that RERANK_GATEWAY_CONFIG names, or of none. Raises ConfigError."""
    config = read_config(os.environ.get(CONFIG_VARIABLE))
    logs.configure(config.telemetry.logs)
    return create(config, path=os.environ.get(CONFIG_VARIABLE))


def _routes(service: Service) -> list[ControllerRouterHandler]:
    return [
        *mounts.routes(service),
        models.route(service),
        usage.route(service),
        *health.route(service),
        *metrics.route(service),
        status.route(service),
        openapi.assets(),
    ]


def _guarded(app: ASGIApp, direct: ASGIApp, config: Config) -> ASGIApp:
    """What stands before all routes. Middleware of the framework would cost the hot route more."""
    app = PathNormalization(app, dict.fromkeys(rerank.PATHS, direct))
    if config.server.allowed_hosts:
        app = TrustedHostMiddleware(app, config.server.allowed_hosts)
    return RequestIdMiddleware(app, rerank.PATHS)


def _cors(origins: list[str]) -> CORSConfig | None:
    """Browsers' permission for these origins. Keys are sent by scripts, so cookies never are."""
    exposed = ["x-request-id", "retry-after"]
    return CORSConfig(allow_origins=origins, allow_methods=["GET", "POST"], expose_headers=exposed) if origins else None


@asynccontextmanager
async def _reloads(
    service: Service, path: str | None, read: Callable[[str], Config]
) -> AsyncIterator[Callable[[], object] | None]:
    """Watches the file; gives what reloads it at once."""
    if path is None:
        yield None
        return
    reloader = Reloader(service, Path(path), lambda: read(path))
    running: set[asyncio.Task[Any]] = {asyncio.create_task(reloader.watch())}

    def reload() -> None:
        task = asyncio.create_task(reloader.reload())
        running.add(task)
        task.add_done_callback(running.discard)

    try:
        yield reload
    finally:
        service.closing = True
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await reloader.aclose()


async def _load(service: Service, loaded: Callable[[RerankError | None], None]) -> None:
    try:
        await service.load()
    except RerankError as error:
        loaded(error)
    else:
        # What lives now lives until the end: the collector need not look through it at every full collection.
        gc.collect()
        gc.freeze()
        loaded(None)
