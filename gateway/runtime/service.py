"""The live gateway: what is replaced by a reload, and what stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from gateway.access.meter import Meter
from gateway.config.root import Config
from gateway.policy.fallback import Fallback
from gateway.routing import routes as routing
from gateway.routing.pricing import TargetPricing
from gateway.routing.routes import Routes
from gateway.runtime import accounting
from gateway.runtime.holds import HeldTargets
from gateway.runtime.instruments import Instruments, configured_model_names, server_addresses, worker_instruments
from gateway.telemetry.exchange import Exchange
from providers.types import Ranking, RerankRequest


class Service:
    """The live gateway behind every dialect.

    Args:
        config: checked.
        instruments: makes what this process reports to.

    Attributes:
        routes: what names resolve to. Replaced as a whole, never changed.
        draining: about to stop: callers should go elsewhere with their next request.
        has_loaded: every local model of the start has been loaded.
        closing: no request is under way any more, or none is waited for.
        keys: of the callers that are let in; None lets everybody in. Replaced together with `routes`.
        meter: admits requests; None where nothing is counted. Replaced together with `routes`.
        held: the targets that an operator has taken out of use.
        reload: has all workers read the configuration again; None where there is no file to read.
        accounts: the store and the ledger, which stay.
        telemetry, observer: as in Instruments.
    """

    routes: Routes

    def __init__(
        self, config: Config, instruments: Callable[[Config, Callable[[], Routes]], Instruments] = worker_instruments
    ) -> None:
        self.config = config
        self.draining = False
        self.has_loaded = False
        self.closing = False
        self.keys = accounting.build_key_table(config)
        self.telemetry, self.observer = instruments(config, lambda: self.routes)
        self.accounts = accounting.UsageAccounts(config, self.telemetry.metrics.count_store_failure)
        self.meter: Meter | None = None
        self.held = HeldTargets(lambda: self.routes)
        self.reload: Callable[[], object] | None = None

    async def open(self) -> None:
        """Open a backend for every provider; local models begin to load with `load`. Needs the running event loop."""
        self.accounts.open()
        terms = TargetPricing(self.config, self.accounts.store)
        self.routes = routing.build(self.config, pricing=terms)
        self.meter = accounting.build_meter(self.config, self.accounts, terms)
        self.routes.start()
        self.held.start()

    async def load(self, *names: str) -> None:
        """Load every local model, or only those that these names need, one after the other.

        Raises:
            NotReady: saying why, for the first that cannot be loaded.
        """
        for model in self.routes.local_models(*names):
            await model.load()
            # At once, before anybody can ask the model: an autoscaler that lacks its queue takes no pod away.
            self.telemetry.refresh()

    async def rerank(self, request: RerankRequest, names: Sequence[str]) -> Ranking:
        """Run the route: rank by the first of these models that serves. Limits and permissions are `ranking.rank`'s.

        Args:
            request: validated, and complete. Its model is the first of the names.
            names: the model and its fallbacks, as callers and the configuration write them.

        Raises:
            RerankError: the first target's error, when none could serve. `request.call.recorder` was told of all.
        """
        routes = self.routes
        routes.in_flight += 1
        try:
            ranking = await Fallback(routes.steps(names, request.call.caller)).rerank(request)
            return routes.scores.fulfil(ranking, request)
        finally:
            routes.in_flight -= 1

    def shadow(self, exchange: Exchange) -> None:
        """Offer a request that has been answered to the candidate beside its model, if it has one. Returns at once."""
        shadows = self.routes.shadows
        # Where `min_score` has left nothing, there is nothing to compare with.
        if shadows and exchange.request is not None and exchange.ranking is not None and exchange.ranking.results:
            shadow = shadows.get(exchange.request.model)
            if shadow is not None:
                shadow.offer(exchange.request, exchange.ranking, self.observer.shadowed)

    def fallbacks(self, model: str, callers_own: Sequence[str] | None) -> Sequence[str]:
        """What is tried after the model: the caller's own fallbacks, else those configured, with what they bring."""
        return self.routes.fallbacks(model, callers_own)

    def replace_keys(self, config: Config) -> None:
        """Put the keys of another configuration in force, with their limits; everything else stays."""
        self.config = self.config.model_copy(update={"auth": config.auth})
        self.keys = accounting.build_key_table(self.config)
        self.meter = accounting.build_meter(self.config, self.accounts, self.routes.pricing)

    def replace(self, config: Config, routes: Routes) -> None:
        """Put another configuration in force, from the next request on."""
        self.config, self.keys, self.routes = config, accounting.build_key_table(config), routes
        self.telemetry.configure(server_addresses(config), configured_model_names(config))
        self.meter = accounting.build_meter(config, self.accounts, routes.pricing)
        self.held.apply()  # Before a request meets the new breaker of a target that is held.
        routes.start()

    async def aclose(self) -> None:
        """Close what `open` opened."""
        self.closing = True
        await self.held.aclose()
        await asyncio.shield(self.routes.aclose())
        await self.accounts.aclose()
