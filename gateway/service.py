"""Resolve the model, run its route, give the ranking."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway import routing
from gateway.access.keys import KeyTable
from gateway.config import Config
from gateway.observed import loads, states, telemetry_of
from gateway.policy.fallback import Fallback
from gateway.routing import Routes
from providers.types import Ranking, RerankRequest


class Service:
    """The live gateway behind every dialect.

    Attributes:
        routes: what names resolve to. Replaced as a whole, never changed.
        draining: about to stop: callers should go elsewhere with their next request.
        closing: no request is under way any more, or none is waited for.
        keys: whose keys are let in; None lets everybody in. Replaced together with `routes`.
        telemetry: what is told of every request. Opened and closed by the application.
    """

    routes: Routes

    def __init__(self, config: Config) -> None:
        self.config = config
        self.draining = False
        self.closing = False
        self.keys = keys_of(config)
        self.telemetry = telemetry_of(config)
        self.telemetry.watch(lambda: loads(self.routes))
        self.telemetry.watch(lambda: states(self.routes, self.telemetry.known.label))

    async def open(self) -> None:
        """Open a backend for every provider; local models begin to load with `load`. Needs the running event loop."""
        self.routes = routing.build(self.config)
        self.routes.start()

    async def load(self, *names: str) -> None:
        """Load every local model, or only those that these names need, one after the other.

        Raises:
            NotReady: saying why, for the first that cannot be loaded.
        """
        for model in self.routes.loading(*names):
            await model.load()

    async def rerank(self, request: RerankRequest, fallbacks: Sequence[str] | None = None) -> Ranking:
        """Rank by the request's model, else by its fallbacks in order.

        Args:
            request: validated; its `model` is the name that the caller wrote.
            fallbacks: the caller's own; None means those configured for the model.

        Raises:
            RerankError: the first target's error, when none could serve. `request.call.attempts` holds all.
        """
        routes = self.routes
        chosen = self.fallbacks(request.model, fallbacks)
        routes.running += 1
        try:
            return await Fallback(routes.steps([request.model, *chosen])).rerank(request)
        finally:
            routes.running -= 1

    def fallbacks(self, model: str, asked: Sequence[str] | None) -> Sequence[str]:
        """What is tried after the model: the caller's own fallbacks, else those configured."""
        return self.routes.fallbacks(model) if asked is None else asked

    def replace(self, config: Config, routes: Routes) -> None:
        """Put another configuration in force, from the next request on."""
        self.config, self.keys, self.routes = config, keys_of(config), routes
        routes.start()

    async def aclose(self) -> None:
        """Close what `open` opened."""
        self.closing = True
        await asyncio.shield(self.routes.aclose())


def keys_of(config: Config) -> KeyTable | None:
    """The keys of a configuration; None where it asks for none."""
    return KeyTable(config.auth.keys) if config.auth and config.auth.keys else None
