"""The composition root: build the ASGI application of a service, which opens and closes everything that it uses."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, ControllerRouterHandler

from gateway.api import dialect_routes, endpoint, errors
from gateway.api.dialects.unified import dialect as rerank
from gateway.api.mcp.endpoint import McpEndpoint, running
from gateway.api.middleware.head import HeadAsGet
from gateway.api.middleware.hosts import TrustedHostMiddleware
from gateway.api.middleware.paths import PathNormalization
from gateway.api.middleware.request_id import RequestIdMiddleware
from gateway.api.openapi import routes as openapi
from gateway.api.openapi.document import Document
from gateway.api.resources import admin, health, metrics, models, status, usage
from gateway.config.loader import CONFIG_VARIABLE, read_config
from gateway.config.root import Config
from gateway.runtime import signals
from gateway.runtime.reload import Reloader
from gateway.runtime.service import Service
from gateway.telemetry import logs
from gateway.ui import routes as ui
from providers.errors import RerankError

logger = logging.getLogger(__name__)

OnLoaded = Callable[[RerankError | None], None]
"""Called once, when all local models are loaded, or with the error of the first one that cannot be."""

Middleware = Callable[[ASGIApp], ASGIApp]


def create(config: Config, path: str | None = None, on_loaded: OnLoaded | None = None) -> Litestar:
    """The application of a configuration.

    Args:
        config: validated.
        path: the file that it was read from, to be watched for changes; None without one.
        on_loaded: hears how loading the local models went.
    """
    service = Service(config)
    return build(service, Reloader(service, path, partial(read_config, path)) if path else None, on_loaded)


def build(service: Service, reloader: Reloader | None, on_loaded: OnLoaded | None) -> Litestar:
    """The application of a service. Its lifespan opens the service, begins to load local models, and closes all again.

    Args:
        service: not yet open.
        reloader: of that service; None where the configuration cannot change.
        on_loaded: hears how loading the local models went.
    """
    config = service.config
    hot_route = endpoint.route(service, rerank.dialect(lambda: service.routes.default_model()))
    mcp = McpEndpoint(service) if config.server.mcp else None
    app = Litestar(
        route_handlers=[hot_route, *_routes(service), *([mcp.route()] if mcp else [])],
        lifespan=[lambda app: _lifespan(service, reloader, on_loaded), lambda app: running(mcp)],
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
    # With CORS, browsers send preflight requests to the hot route as well, and Litestar answers those.
    direct = app.asgi_handler if config.server.cors else hot_route.fn
    app.asgi_handler = _stack(app.asgi_handler, _middleware(config, direct))
    return app


def from_environment() -> Litestar:
    """The application for another ASGI server, configured by the file that RERANK_GATEWAY_CONFIG names, or by none.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    path = os.environ.get(CONFIG_VARIABLE)
    config = read_config(path)
    logs.configure(config.telemetry.logs)
    return create(config, path)


def _routes(service: Service) -> list[ControllerRouterHandler]:
    return [
        *dialect_routes.routes(service),
        models.route(service),
        usage.route(service),
        *health.route(service),
        *metrics.route(service),
        status.route(service),
        openapi.document_route(Document(lambda: service.keys is not None)),
        openapi.assets(),
        *(admin.routes(service) if service.config.server.ui else []),
        *(ui.routes(service) if service.config.server.ui else []),
    ]


def _middleware(config: Config, direct: ASGIApp) -> list[Middleware]:
    """What every request passes before it is routed, outermost first."""
    hosts = config.server.allowed_hosts
    pages = (openapi.PAGE, *([ui.DASHBOARD] if config.server.ui else []))
    by_path = {**dict.fromkeys(rerank.PATHS, direct), **{f"{page}/": openapi.leads_to(page) for page in pages}}
    return [
        lambda app: RequestIdMiddleware(app, rerank.PATHS),
        *([lambda app: TrustedHostMiddleware(app, hosts)] if hosts else []),
        lambda app: PathNormalization(app, by_path),
        HeadAsGet,
    ]


def _stack(app: ASGIApp, middleware: Sequence[Middleware]) -> ASGIApp:
    # Litestar would put its own `middleware` around each route, that is, after routing: too late to correct a path, and
    # more costly for the hot route, which is called without Litestar's routing (docs/performance.md).
    for wrap in reversed(middleware):
        app = wrap(app)
    return app


def _cors(origins: list[str]) -> CORSConfig | None:
    """What pages of these origins may do. API keys are sent as a header by scripts, so cookies are never allowed."""
    exposed = ["x-request-id", "retry-after"]
    return CORSConfig(allow_origins=origins, allow_methods=["GET", "POST"], expose_headers=exposed) if origins else None


@asynccontextmanager
async def _lifespan(service: Service, reloader: Reloader | None, on_loaded: OnLoaded | None) -> AsyncIterator[None]:
    await service.open()
    service.telemetry.open()
    loading = asyncio.create_task(_load(service, on_loaded))
    try:
        async with _watch(reloader) as reload:
            service.reload = None if reload is None else partial(signals.reload_all_workers, reload)
            with signals.handle(service, service.config.server.drain, reload):
                yield
    finally:
        loading.cancel()
        await service.aclose()
        await service.telemetry.aclose()


@asynccontextmanager
async def _watch(reloader: Reloader | None) -> AsyncIterator[Callable[[], None] | None]:
    """Watch the configuration file meanwhile. Yields what reloads it at once."""
    if reloader is None:
        yield None
        return
    reloader.start()
    try:
        yield reloader.request
    finally:
        await reloader.aclose()


async def _load(service: Service, on_loaded: OnLoaded | None) -> None:
    failure: RerankError | None = None
    try:
        await service.load()
    except RerankError as error:
        failure = error
    else:
        service.has_loaded = True
        # What is in memory now stays until the end. Frozen, it is not traversed at each full garbage collection, which
        # would hold up the event loop.
        gc.collect()
        gc.freeze()
    if on_loaded is not None:
        on_loaded(failure)
    elif failure is not None:
        logger.error("%s", failure.message)
