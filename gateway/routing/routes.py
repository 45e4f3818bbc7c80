"""From the configuration to live routes: which policies wrap which target, in which order, is decided here alone.

For one request: Fallback over the steps of the model and its fallbacks; each step is
RateLimit(Retry(Breaker(Target(Bulkhead(KeyPool(HttpBackend) | Deadline(PairwiseFanOut(local model))))))).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from gateway.access.memory import MemoryStore
from gateway.backends.local import LocalBackend
from gateway.backends.pure import Passthrough
from gateway.config.models import ModelSettings
from gateway.config.root import Config
from gateway.errors import UnknownModel
from gateway.policy.breaker import BreakerState
from gateway.policy.bulkhead import Bulkhead
from gateway.policy.fallback import Step, UnknownTarget
from gateway.policy.health_check import HealthCheck
from gateway.policy.hedge import HedgeBudget
from gateway.policy.key_pool import KeyState
from gateway.policy.latency import Latency, LatencyProbe
from gateway.policy.retry import RetryBudget
from gateway.policy.strategy import Candidate, selection_policy
from gateway.policy.target import Target
from gateway.routing.pricing import TargetPricing
from gateway.routing.providers import LiveProvider, open_providers
from gateway.routing.route import Route
from gateway.routing.stack import TargetState, _in_time, stack
from gateway.suggestions import LONGEST_NAME, clause, near
from providers.types import Backend

REMEMBERED_TARGETS = 4096
"""Targets kept for names that only callers mention; more would let a caller fill the memory with invented names."""


class Routes:
    """What every name resolves to.

    Attributes:
        config: what they were built from.
        running: requests under way on these routes.
        terms: the prices and limits of their targets.
    """

    def __init__(self, config: Config, previous: Routes | None = None, terms: TargetPricing | None = None) -> None:
        self.config = config
        self.terms = terms or TargetPricing(config, MemoryStore())
        self.in_flight = 0
        self._opened: dict[str, LiveProvider] = open_providers(config, previous._opened if previous else {})
        self._owned = [resource for opened in self._opened.values() for resource in opened.resources()]
        self._states = {name: guarded for name, guarded in _kept(previous) if self._is_current(name, guarded)}
        self._adhoc_routes: dict[str, Route] = {}
        self._aliases: dict[str, Route] = {}
        self._aliases = {name: self._configured(name, model) for name, model in config.models.items()}
        reached = [*config.models, *(fallback for model in config.models.values() for fallback in model.fallbacks)]
        self._configured_paths = frozenset(path for name in reached for path in config.paths(name))
        for path in [path for path in self._states if path not in self._configured_paths]:
            self.resolve(path)
        self._checks = [self._check(name, opened) for name, opened in self._opened.items()]

    @property
    def models(self) -> dict[str, dict[str, LocalBackend]]:
        """Local models by provider and name, the ones that need loading before they are ready."""
        return {name: opened.models for name, opened in self._opened.items() if opened.models}

    def steps(self, names: Sequence[str]) -> list[Step]:
        """The walk of one request through everything that these names resolve to."""
        if len(names) == 1:
            return self.resolve(names[0]).steps()
        return [step for name in names for step in self.resolve(name).steps()]

    def resolve(self, name: str) -> Route:
        """What serves that name; for an unknown one a route that says so (404), with near matches."""
        route = self._aliases.get(name) or self._adhoc_routes.get(name)
        if route is None:
            choices = [self._choice(name)]
            route = Route(selection_policy("ordered", choices), [choices[0].step])
            self._remember(name, route)
        return route

    def fallbacks(self, name: str) -> list[str]:
        """The fallbacks configured for that name."""
        model = self.config.models.get(name)
        return model.fallbacks if model else []

    def names(self) -> list[str]:
        """All names that can be listed: aliases, then local models; an upstream's own models are not known."""
        local = [f"{provider}/{name}" for provider, models in self.models.items() for name in models]
        return [*self._aliases, *local]

    def owner(self, name: str) -> str:
        """The provider behind a listed name; the first one's where there are several."""
        return self.config.paths(name)[0].partition("/")[0]

    def default_model(self) -> str | None:
        """What serves a request whose dialect lets the model be left out: the configured one, else the only name."""
        if self.config.default_model is not None:
            return self.config.default_model
        names = self.names()
        return names[0] if len(names) == 1 else None

    def is_known(self, name: str) -> bool:
        """Whether that name resolves to something, without saying whether an upstream has that model."""
        return any(self._backend(*_split(path)) is not None for path in self.config.paths(name))

    def is_alias(self, name: str) -> bool:
        """Whether the configuration gives that name a meaning of its own."""
        return name in self._aliases

    def local_models(self, *names: str) -> list[LocalBackend]:
        """Every local model, or only those that these names and their fallbacks need."""
        reached = [*names, *(fallback for name in names for fallback in self.fallbacks(name))]
        wanted = {path for name in reached for path in self.config.paths(name)}
        return [
            loading
            for provider, models in self.models.items()
            for model, loading in models.items()
            if not names or f"{provider}/{model}" in wanted
        ]

    def breakers(self) -> dict[str, BreakerState]:
        """The breaker of every target asked so far, by `provider/model`."""
        return {name: guarded.breaker for name, guarded in self._states.items()}

    def key_states(self) -> dict[tuple[str, str], KeyState]:
        """What is known of the providers' keys, by the provider and the key's name."""
        return {(name, key.name): key for name, opened in self._opened.items() for key in opened.key_states()}

    def start(self) -> None:
        """Begin the active health checks. Needs the running event loop."""
        for check in self._checks:
            if check is not None:
                check.start()

    async def aclose(self, successor: Routes | None = None) -> None:
        """Close every resource that the successor has not taken over."""
        for check in self._checks:
            if check is not None:
                await check.aclose()
        kept = {id(resource) for resource in successor._owned} if successor else set()
        await asyncio.gather(*(resource.aclose() for resource in self._owned if id(resource) not in kept))

    def _configured(self, name: str, model: ModelSettings) -> Route:
        choices = [self._choice(entry.target, name, entry.weight, model) for entry in model.all_targets]
        order = selection_policy(model.strategy, choices)
        if model.hedge is not None:
            return Route(order, hedge=model.hedge, budget=HedgeBudget())
        return Route(order, [choice.step for choice in choices] if order() is choices else None)

    def _choice(
        self, path: str, shown_as: str | None = None, weight: float = 1.0, model: ModelSettings | None = None
    ) -> Candidate:
        provider, upstream_model = _split(path)
        backend = self._backend(provider, upstream_model)
        if backend is None:
            return Candidate(Step(self._absent(path), time_shares=0), weight, Latency())
        if isinstance(backend, Passthrough):
            free = Target(backend, provider, upstream_model, shown_as, self.terms.cost(provider, upstream_model))
            return Candidate(Step(free, time_shares=0), weight, Latency())
        guarded = self._guard(path, provider, backend)
        chain = stack(guarded, provider, upstream_model, shown_as, self.terms)
        if model and (model.hedge or model.strategy == "least_latency"):
            chain = LatencyProbe(chain, guarded.latency)
        return Candidate(Step(chain), weight, guarded.latency)

    def _guard(self, path: str, provider: str, backend: Backend) -> TargetState:
        if path not in self._states:
            settings = self._opened[provider].settings
            self._states[path] = TargetState(
                settings,
                Bulkhead(_in_time(backend, provider), settings.bulkhead, path),
                BreakerState(settings.breaker),
                RetryBudget(settings.retry),
                Latency(),
            )
        return self._states[path]

    def _backend(self, provider: str, model: str) -> Backend | None:
        opened = self._opened.get(provider)
        if opened is None or not model:
            return None
        return opened.models.get(model) or opened.backend

    def _is_current(self, path: str, guarded: TargetState) -> bool:
        """Whether a target of the configuration before is the same in this one, down to its connections."""
        provider, model = _split(path)
        opened = self._opened.get(provider)
        return opened is not None and opened.settings is guarded.settings and self._backend(provider, model) is not None

    def _absent(self, name: str) -> UnknownTarget:
        provider, slash, model = name[:LONGEST_NAME].partition("/")
        open_ended = [other for other, opened in self._opened.items() if opened.backend]
        meant = near(name, self.names()) + [f"{other}/{model}" for other in near(provider, open_ended) if slash]
        error = UnknownModel(f'unknown model "{name[:LONGEST_NAME]}"{clause(meant)}')
        return UnknownTarget(error, provider, model) if slash else UnknownTarget(error, "", provider)

    def _check(self, name: str, opened: LiveProvider) -> HealthCheck | None:
        if opened.settings.health_check is None:
            return None

        def breakers() -> Iterable[BreakerState]:
            return [breaker for path, breaker in self.breakers().items() if path.startswith(f"{name}/")]

        return HealthCheck(name, opened.settings.health_check, opened.is_well, breakers)

    def _remember(self, name: str, route: Route) -> None:
        if len(name) > LONGEST_NAME:
            self._states.pop(name, None)
            return
        if len(self._adhoc_routes) >= REMEMBERED_TARGETS:
            oldest = next(iter(self._adhoc_routes))
            del self._adhoc_routes[oldest]
            if oldest not in self._configured_paths:
                self._states.pop(oldest, None)
        self._adhoc_routes[name] = route


def build(config: Config, previous: Routes | None = None, terms: TargetPricing | None = None) -> Routes:
    """The routes of a configuration. What has not changed since the routes `before` is taken over, with its state.

    Args:
        config: checked.
        before: the routes of the configuration before, if there was one.
        terms: the prices and limits of its targets; by default, limits are counted for these routes alone.
    """
    return Routes(config, previous, terms)


def _split(path: str) -> tuple[str, str]:
    provider, _, model = path.partition("/")
    return provider, model


def _kept(previous: Routes | None) -> Iterable[tuple[str, TargetState]]:
    return previous._states.items() if previous else ()
