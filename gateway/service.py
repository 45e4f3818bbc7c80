"""Resolve the model, run its route, give the ranking."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway import routing
from gateway.config import Config
from gateway.policy.fallback import Fallback
from gateway.routing import Routes
from providers.types import Ranking, RerankRequest


class Service:
    """The live gateway behind every dialect.

    Attributes:
        routes: what names resolve to. Replaced as a whole, never changed.
    """

    routes: Routes

    def __init__(self, config: Config) -> None:
        self.config = config

    async def open(self) -> None:
        """Open a backend for every provider; local models begin to load with `load`. Needs the running event loop."""
        self.routes = routing.build(self.config)

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
        chosen = routes.fallbacks(request.model) if fallbacks is None else fallbacks
        if not chosen:
            return await routes.resolve(request.model).rerank(request)
        return await Fallback([routes.resolve(name) for name in (request.model, *chosen)]).rerank(request)

    async def aclose(self) -> None:
        """Close what `open` opened."""
        await asyncio.shield(self.routes.aclose())
