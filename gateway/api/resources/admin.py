"""What the dashboard shows and does. Only for operators: at their address if there is one, and with an admin key.

These routes are the dashboard's own and change with it, so they are not in the document of the API.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import msgspec
from litestar import Request, get, post
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from litestar.params import JSONBody
from litestar.response import ServerSentEvent
from litestar.types import ControllerRouterHandler
from msgspec import Struct

from gateway.access.meter import LimitLeft
from gateway.access.usage import UsageRow
from gateway.api import auth
from gateway.api.body import header_values
from gateway.api.origins import check_origin
from gateway.errors import NotAdmin, StoreDown, UnknownModel
from gateway.routing.routes import Routes
from gateway.runtime.service import Service
from gateway.suggestions import MAX_NAME_LENGTH, clause, near
from gateway.telemetry.history import Incident, Sample
from gateway.telemetry.status import Snapshot, take_snapshot
from providers.errors import InvalidRequest, Overloaded, RerankError

EVENT_SECONDS = 2.0
"""Between two events of the stream."""

SHARE_SECONDS = 1.0
"""How long a state that was collected for one stream is sent to others too: it is read from all metrics."""

CALLERS_SECONDS = 10.0
"""Between two looks at what the keys use."""

MAX_CALLERS = 200
"""Keys that are shown."""

MAX_WATCHERS = 20
"""Streams at once."""


class TargetLoad(Struct):
    """A target in this worker.

    Attributes:
        in_flight, waiting: calls that hold a slot of its bulkhead, and that wait for one.
        held: an operator has taken it out of use.
        uptime: share of the attempts of the last hour that did not fail, over all workers; None without any.
    """

    in_flight: int = 0
    waiting: int = 0
    held: bool = False
    uptime: float | None = None


class RouteShape(Struct, omit_defaults=True):
    """A model of the configuration, and where its requests go, in order.

    Attributes:
        kind: target, targets, fuse or cascade.
        targets: the `provider/model`s, or the names of other models.
        shares: by provider, its share of the requests that were served.
    """

    model: str
    kind: str
    strategy: str
    targets: list[str]
    fallbacks: list[str]
    shadow: str | None
    shares: dict[str, float]


class CallerUse(Struct, omit_defaults=True):
    """A key, what it has used today (UTC), and what is left of its limits and its budget."""

    name: str
    requests: int = 0
    failed_requests: int = 0
    documents: int = 0
    tokens: int = 0
    cost: float | None = None
    limits: list[LimitLeft] = []


class Dashboard(Struct):
    """What the dashboard shows. Counts and percentiles are over all workers, `loads` and `incidents` of one."""

    time: float
    snapshot: Snapshot
    loads: dict[str, TargetLoad]
    routes: list[RouteShape]
    callers: list[CallerUse]
    samples: list[Sample]
    incidents: list[Incident]
    workers: int


class TargetName(Struct):
    """The target that an action is about, as `provider/model`."""

    target: str


class Done(Struct):
    """What was done."""

    done: str


def routes(service: Service) -> list[ControllerRouterHandler]:
    """The routes."""
    guards = [auth.operators_only(service), _admins_only(service)]
    watchers, latest = asyncio.Semaphore(MAX_WATCHERS), LatestState(service)

    @get("/v1/admin/state", guards=guards, include_in_schema=False)
    async def state() -> Dashboard:
        return await latest.collect()

    @get("/v1/admin/events", guards=guards, include_in_schema=False)
    async def events(request: Request[Any, Any, Any]) -> ServerSentEvent:
        if watchers.locked():
            raise Overloaded(f"{MAX_WATCHERS} dashboards are open already; close one")
        headers = list(request.scope["headers"])
        return ServerSentEvent(_stream(service, latest, watchers, lambda: _check_admin(service, headers)))

    @post("/v1/admin/eject", guards=guards, status_code=200, include_in_schema=False)
    async def eject(data: JSONBody[TargetName]) -> Done:
        target = _known(service.routes, data.target)
        try:
            service.held.eject(target)
        except ValueError as error:
            raise InvalidRequest(str(error)) from None
        return Done(f"{target} is out of use until it is readmitted or the gateway restarts")

    @post("/v1/admin/readmit", guards=guards, status_code=200, include_in_schema=False)
    async def readmit(data: JSONBody[TargetName]) -> Done:
        target = _known(service.routes, data.target)
        service.held.readmit(target)
        return Done(f"{target} may be used again")

    @post("/v1/admin/reload", guards=guards, status_code=202, include_in_schema=False)
    async def reload() -> Done:
        _ask_to_reload(service)
        return Done("the configuration is read again; the log and rerank_gateway_config_reloads tell how it went")

    return [state, events, eject, readmit, reload]


def _admins_only(service: Service) -> Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], None]:
    def check(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        _check_admin(service, connection.scope["headers"])

    return check


def _check_admin(service: Service, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raises Unauthorized, NotAdmin or ForeignOrigin for a request that may not look."""
    caller = auth.principal(service, headers)
    if service.keys is None:
        # Nothing else keeps a page of another site from ejecting targets.
        check_origin(header_values(headers), service.config.server.cors)
    elif not caller.admin:
        raise NotAdmin("the dashboard requires an admin key (`admin: true`)")


def _ask_to_reload(service: Service) -> None:
    if service.reload is None:
        raise InvalidRequest("this gateway was started without a configuration file: there is none to read again")
    service.reload()


def _known(current: Routes, path: str) -> str:
    """A target that has been called or is configured. Raises UnknownModel with near matches."""
    names = current.breakers().keys()
    if path in names:
        return path
    short = path[:MAX_NAME_LENGTH]
    raise UnknownModel(f'no target "{short}" is in use{clause(near(short, list(names)))}')


async def _stream(
    service: Service, latest: LatestState, watchers: asyncio.Semaphore, check: Callable[[], None]
) -> AsyncIterator[str]:
    """An event every EVENT_SECONDS, until the gateway stops or `check` raises: a reload may have revoked the key."""
    if watchers.locked():  # Others began between the check of this request and now: end, rather than hang silently.
        return
    async with watchers:
        with suppress(RerankError):
            while not service.draining:
                check()
                yield await latest.read()
                await asyncio.sleep(EVENT_SECONDS)


class LatestState:
    """What the dashboard shows, collected once for all who watch."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._callers = Callers(service)
        self._event = ""
        self._until = 0.0
        self._collecting = asyncio.Lock()

    async def read(self) -> str:
        """The state as JSON, of this moment or of less than SHARE_SECONDS ago."""
        async with self._collecting:
            if monotonic() >= self._until:
                self._event = msgspec.json.encode(await self.collect()).decode()
                self._until = monotonic() + SHARE_SECONDS
            return self._event

    async def collect(self) -> Dashboard:
        """The state of this moment."""
        service = self._service
        service.telemetry.refresh()
        snapshot = take_snapshot(service.telemetry.metric_store)
        history = service.telemetry.history
        return Dashboard(
            datetime.now(UTC).timestamp(),
            snapshot,
            _loads(service),
            _shapes(service, snapshot),
            await self._callers.read(),
            list(history.samples),
            list(history.incidents)[::-1],
            service.config.server.workers,
        )


def _loads(service: Service) -> dict[str, TargetLoad]:
    up, held = service.telemetry.history.uptimes(), set(service.held.paths)
    return {
        path: TargetLoad(state.active, state.waiting, path in held, up.get(path))
        for path, state in service.routes.targets.states().items()
    }


def _shapes(service: Service, snapshot: Snapshot) -> list[RouteShape]:
    return [
        RouteShape(
            name,
            "fuse" if model.fuse else "cascade" if model.cascade else "targets" if model.targets else "target",
            model.strategy,
            [entry.target for entry in model.all_targets] or model.members,
            list(model.fallbacks),
            model.shadow.target if model.shadow else None,
            snapshot.shares.get(name, {}),
        )
        for name, model in service.config.models.items()
    ]


class Callers:
    """What keys use, looked up at most every CALLERS_SECONDS: with a shared store it costs a round trip for each."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._found: list[CallerUse] = []
        self._until = 0.0
        self._looking = asyncio.Lock()

    async def read(self) -> list[CallerUse]:
        """The keys of the configuration, the first MAX_CALLERS; the last ones known while the store is down."""
        async with self._looking:
            if monotonic() >= self._until:
                with suppress(StoreDown):
                    self._found = await self._look()
                self._until = monotonic() + CALLERS_SECONDS
            return self._found

    async def _look(self) -> list[CallerUse]:
        service = self._service
        if service.config.auth is None or service.keys is None:
            return []
        names = [key.name for key in service.config.auth.keys[:MAX_CALLERS]]
        used = {name: CallerUse(name) for name in names}
        page = await service.accounts.ledger.read([f"{datetime.now(UTC):%Y-%m-%d}"], None)
        for row in page.rows:
            if row.key in used:
                _add(used[row.key], row)
        if service.meter is not None:
            for name in names:
                used[name].limits = await service.meter.look(name)
        return list(used.values())


def _add(use: CallerUse, row: UsageRow) -> None:
    use.requests += row.requests
    use.failed_requests += row.failed_requests
    use.documents += row.documents
    use.tokens += row.tokens
    if row.cost is not None:
        use.cost = (use.cost or 0.0) + row.cost
