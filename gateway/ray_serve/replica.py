"""One copy of a local provider's models as an ASGI application, for whatever serves those. Nothing here knows Ray.

A replica runs what the engine process runs: the gateway of one local provider. Its start is over when all models are
loaded and warm, so nobody is sent to a copy that cannot rank yet.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any
from urllib.parse import quote

from litestar import Litestar
from litestar.types import Receive, Scope, Send
from pydantic import SecretStr

from gateway.access.keys import AuthSettings, CallerKeySettings, hash_of
from gateway.config.limits import RequestLimitSettings
from gateway.config.loader import read_local_provider
from gateway.config.models import ModelSettings
from gateway.config.providers import LocalModelSettings, ProviderSettings
from gateway.config.root import Config
from gateway.config.scale import ScaleSettings
from gateway.config.server import ServerSettings
from gateway.policy.bulkhead import BulkheadSettings
from gateway.ray_serve.autoscaling import BUSY, WAITING
from gateway.runtime.service import Service
from gateway.server import app as application
from gateway.settings import UNLIMITED
from gateway.telemetry.settings import TelemetrySettings
from providers.errors import NotReady, RerankError
from providers.types import EngineStats

HEADROOM_BYTES = 65_536
"""By so much a body may be larger as the gateway sends it than as it got it: names of fields, and what it fills in."""

HEADROOM_VALUES = 100
"""So many more values its JSON may have then."""


class Replica:
    """The application, from the loading of its models to their end. It belongs to one event loop.

    Args:
        path: of the gateway's configuration.
        name: of the local provider in it.
        instance: tells this copy from others in telemetry; "" leaves the gateway's own random name.
        clock: seconds that only grow.

    Attributes:
        config: of this copy.

    Raises:
        ConfigError: the provider cannot run here.
    """

    def __init__(self, path: str, name: str, instance: str = "", clock: Callable[[], float] = monotonic) -> None:
        self.config = replica_config(read_local_provider(path, os.environ, name), name, instance)
        self._service = Service(self.config)
        self._app: Litestar = application.build(self._service, None, self._on_loaded)
        self._figures = LoadFigures(clock)
        self._loaded: asyncio.Future[None] | None = None
        self._life: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def open(self) -> None:
        """Load the models and wait until they are warm. Once it is open, does nothing.

        Raises:
            NotReady: a model cannot be loaded; the message says which, and why. Or it was closed meanwhile.
        """
        if self._life is None:
            self._loaded = asyncio.get_running_loop().create_future()
            self._life = asyncio.create_task(self._live())
        assert self._loaded is not None  # noqa: S101  # made with the task
        await asyncio.wait((self._loaded, self._life), return_when=asyncio.FIRST_COMPLETED)
        if self._life.done():
            self._life.result()
        if not self._loaded.done():
            raise NotReady("the replica was closed while its models were being loaded")
        try:
            self._loaded.result()
        except RerankError:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Close what `open` opened."""
        self._closing.set()
        if self._life is not None:
            await self._life

    async def check(self) -> None:
        """Raises NotReady, naming the models, unless the engine thread of each model lives and its device computes."""
        models = self._service.routes.local_models()
        away = [model.model.name for model in models if not await model.ready()]
        if away:
            raise NotReady(f"the engine of {', '.join(away)} is away")

    def load(self) -> dict[str, float]:
        """How much there is to do, as BUSY and WAITING; see `LoadFigures`."""
        return self._figures.read(model.stats() for model in self._service.routes.local_models())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as ASGI. Below whatever path a server has put the application, it is as if that were the root."""
        if scope["type"] == "lifespan":  # type: ignore[comparison-overlap]  # Litestar's Scope leaves it out
            await self._follow_lifespan(receive, send)
            return
        await self._app(at_root(scope), receive, send)

    def _on_loaded(self, error: RerankError | None) -> None:
        assert self._loaded is not None  # noqa: S101  # it is made before the application starts
        if self._loaded.done():
            return
        if error is None:
            self._loaded.set_result(None)
        else:
            self._loaded.set_exception(error)

    async def _live(self) -> None:
        # The application is opened and closed by one task, as its lifespan expects.
        async with self._app.lifespan():
            await self._closing.wait()

    async def _follow_lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        try:
            await self.open()
        except RerankError as error:
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})


class LoadFigures:
    """Which share of the time the models compute, and for how many seconds of work requests wait.

    All models of a replica share one device, so their times add up, to no more than all of it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._before = (clock(), 0.0)

    def read(self, stats: Iterable[EngineStats | None]) -> dict[str, float]:
        """BUSY, from 0 to 1, since the last time that this was asked; and WAITING, by each model's speed of late."""
        known = [each for each in stats if each is not None]
        now, busy = self._clock(), sum(each.busy_seconds for each in known)
        (then, busy_then), self._before = self._before, (now, busy)
        share = (busy - busy_then) / (now - then) if now > then else 0.0
        waiting = [each.queued_tokens / each.tokens_per_second for each in known if each.tokens_per_second]
        return {BUSY: min(max(share, 0.0), 1.0), WAITING: sum(waiting)}


def replica_config(config: Config, name: str, instance: str) -> Config:
    """What a copy of that provider runs: its models alone, under their own names too, for callers with its key.

    Args:
        config: with the provider as it is loaded in a process; see `read_local_provider`.
        name: of the provider.
        instance: as in Replica.
    """
    settings = config.providers[name]
    models = {model: _within(own, settings.scale) for model, own in (settings.models or {}).items()}
    return Config(
        auth=_auth(settings),
        server=ServerSettings(ui=False),
        deadline=config.deadline,
        request_limits=_wider(config.request_limits),
        providers={
            name: ProviderSettings(
                adapter=settings.adapter, models=models, bulkhead=BulkheadSettings(concurrency=UNLIMITED)
            )
        },
        models={model: ModelSettings(target=f"{name}/{model}") for model in models},
        telemetry=_telemetry(config.telemetry, instance),
    )


def at_root(scope: Scope) -> Scope:
    """The request's scope without the path at which the application is mounted (ASGI's `root_path`)."""
    root = scope.get("root_path", "").rstrip("/")
    if not root or not f"{scope['path']}/".startswith(f"{root}/"):
        return scope
    path = scope["path"][len(root) :] or "/"
    return {**scope, "root_path": "", "path": path, "raw_path": quote(path).encode()}  # type: ignore[return-value]


def _wider(limits: RequestLimitSettings) -> RequestLimitSettings:
    """The gateway's limits on requests, with room for what it adds to one that it has taken."""
    wider = {
        "body_bytes": limits.body_bytes + HEADROOM_BYTES,
        "json_values": limits.json_values + HEADROOM_VALUES,
    }
    return limits.model_copy(update=wider)


def _within(model: LocalModelSettings, scale: ScaleSettings | None) -> LocalModelSettings:
    """A model with no more threads than the copy has processors, and no GPU if it has none: the host may have many.

    Ray leaves all GPUs of its host in sight of a copy that asks for none
    (https://github.com/ray-project/ray/issues/54868).
    """
    if scale is None:
        return model
    device = "cpu" if model.device == "auto" and not scale.gpus else model.device
    return model.model_copy(update={"threads": model.threads or scale.whole_cpus, "device": device})


def _auth(settings: ProviderSettings) -> AuthSettings:
    """Who may call: whoever has a key that the gateway sends; anybody if it sends none."""
    keys: list[SecretStr] = [settings.api_key] if settings.api_key else [each.key for each in settings.api_keys]
    known = [
        CallerKeySettings(name=f"gateway-{number}", hash=hash_of(key.get_secret_value()))
        for number, key in enumerate(keys, 1)
    ]
    return AuthSettings(keys=known) if known else AuthSettings(mode="none")


def _telemetry(settings: TelemetrySettings, instance: str) -> TelemetrySettings:
    """As configured, told apart by the copy. /metrics is off: a load balancer would show now one copy, now another."""
    metrics = settings.metrics.model_copy(update={"prometheus": False})
    resource = {**settings.resource, **({"service.instance.id": instance} if instance else {})}
    return settings.model_copy(update={"metrics": metrics, "resource": resource})
