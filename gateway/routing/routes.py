"""From a configuration to live routes, in three passes: providers, targets, routes.

One request walks the steps of its model and of the model's fallbacks (`Fallback`) until a target answers. The policies
around each target are in `gateway.routing.stack`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from gateway.access.memory import MemoryStore
from gateway.backends.local import LocalBackend
from gateway.config import chains
from gateway.config.models import ModelSettings
from gateway.config.root import Config
from gateway.errors import UnknownModel
from gateway.policy.breaker import BreakerState
from gateway.policy.canary import Canary
from gateway.policy.fallback import Step
from gateway.policy.health_check import HealthCheck
from gateway.policy.key_state import KeyState
from gateway.routing.caches import open_cache
from gateway.routing.canaries import open_canaries
from gateway.routing.composites import composite_route, steps
from gateway.routing.live_provider import LiveProvider
from gateway.routing.pricing import TargetPricing
from gateway.routing.providers import open_providers
from gateway.routing.route import Route
from gateway.routing.scores import ScoreContract
from gateway.routing.shadows import open_shadows
from gateway.routing.targets import Targets
from providers.types import RerankRequest, Resource, ScoreSpace


class Routes:
    """What every name resolves to, for one configuration. Made by `build`.

    Attributes:
        config: what they were built from.
        pricing: the prices and rate limits of their targets.
        providers: opened, by name.
        targets: with their policies.
        scores: what makes of a target's scores those that callers asked for.
        in_flight: requests that are using these routes now.
        shadows: the candidates beside models, by the models' names.
        canaries: the checks whether models still score as at first.
    """

    def __init__(
        self,
        config: Config,
        pricing: TargetPricing,
        providers: Mapping[str, LiveProvider],
        targets: Targets,
        aliases: Mapping[str, Route],
        canaries: Sequence[Canary] = (),
    ) -> None:
        self.config = config
        self.pricing = pricing
        self.providers = providers
        self.targets = targets
        self.in_flight = 0
        self.scores = ScoreContract(config, targets.score_space)
        self._aliases = aliases
        self._defaults = {name: model for name, model in config.models.items() if model.has_defaults}
        self._fallbacks = {
            name: chains.flatten(config.models, name, model.fallbacks) for name, model in config.models.items()
        }
        self.shadows = open_shadows(config, targets)
        self.canaries = canaries
        self._health_checks = list(_health_checks(providers, targets))

    @property
    def models(self) -> dict[str, dict[str, LocalBackend]]:
        """The local models by provider and name; these need loading before they are ready."""
        return {name: provider.models for name, provider in self.providers.items() if provider.models}

    def steps(self, names: Sequence[str], caller: str = "") -> list[Step]:
        """The steps of one request for a model and its fallbacks, given as names in the order to try them.

        No target is among them twice, whatever names lead to it. `caller` is the name of the caller's key.
        """
        return steps(self.resolve, names, caller)

    def complete(self, request: RerankRequest) -> RerankRequest:
        """The request with what the configuration sets for its model, and the request leaves out."""
        model = self._defaults.get(request.model)
        return request if model is None else model.complete(request)

    def score_space(self, name: str) -> ScoreSpace:
        """What the scores of a listed name are, by its first target, or its last stage."""
        return self.scores.promised(name)

    def resolve(self, name: str) -> Route:
        """The route of that name; for an unknown name one that raises UnknownModel (404)."""
        return self._aliases.get(name) or self.targets.adhoc_route(name)

    def unknown_model(self, name: str, may_use: Callable[[str], bool]) -> UnknownModel:
        """The error for a name that leads nowhere, with near matches among the names that the caller may use."""
        return self.targets.unknown_model(name, may_use)

    def fallbacks(self, name: str, callers_own: Sequence[str] | None = None) -> list[str]:
        """What is tried after that name: the caller's own fallbacks, else those configured, with what they bring."""
        if callers_own is None:
            return self._fallbacks.get(name, [])
        return chains.flatten(self.config.models, name, callers_own)

    def names(self) -> list[str]:
        """All names that can be listed."""
        return _listed_names(self.config, self.providers)

    def owner(self, name: str) -> str:
        """The provider behind a listed name; where there are several targets, the first one's."""
        return self.config.paths(name)[0].partition("/")[0]

    def default_model(self) -> str | None:
        """What serves a request whose dialect lets the model be left out: the configured one, else the only name."""
        if self.config.default_model is not None:
            return self.config.default_model
        names = self.names()
        return names[0] if len(names) == 1 else None

    def is_known(self, name: str) -> bool:
        """Whether that name resolves to something. Whether an upstream has such a model is not known here."""
        return any(map(self.targets.exists, self.config.paths(name)))

    def is_alias(self, name: str) -> bool:
        """Whether the configuration gives that name a meaning of its own."""
        return name in self._aliases

    def local_models(self, *names: str) -> list[LocalBackend]:
        """Every local model, or only those that these names and their fallbacks need."""
        reachable = [*names, *(fallback for name in names for fallback in self.fallbacks(name))]
        paths = {path for name in reachable for path in self.config.paths(name)}
        return [
            model
            for provider, models in self.models.items()
            for name, model in models.items()
            if not names or f"{provider}/{name}" in paths
        ]

    def breakers(self) -> dict[str, Sequence[BreakerState]]:
        """The breakers of every target named so far, one for each address, by `provider/model`."""
        return self.targets.breakers()

    def key_states(self) -> Iterator[tuple[str, KeyState]]:
        """Each provider's name, and what is known of one of its keys at one of its addresses."""
        return ((name, key) for name, provider in self.providers.items() for key in provider.key_states)

    def start(self) -> None:
        """Begin the active health checks and the canaries. Needs the running event loop."""
        checks: list[HealthCheck | Canary] = [*self._health_checks, *self.canaries]
        for check in checks:
            check.start()

    async def aclose(self, successor: Routes | None = None) -> None:
        """End checks and shadow calls, and close every resource that the successor has not taken over."""
        working: list[Resource] = [*self._health_checks, *self.canaries, *self.shadows.values()]
        for worker in working:
            await worker.aclose()
        shared = {id(resource) for resource in successor._resources()} if successor else set()
        await asyncio.gather(*(resource.aclose() for resource in self._resources() if id(resource) not in shared))

    def _resources(self) -> Iterator[Resource]:
        for provider in self.providers.values():
            yield from provider.resources()
        if self.targets.cache is not None:
            yield self.targets.cache.store


def build(config: Config, previous: Routes | None = None, pricing: TargetPricing | None = None) -> Routes:
    """The routes of a configuration, in three passes; each needs only what the passes before it have made.

    Args:
        config: checked.
        previous: the routes in force before a reload. What has not changed since is taken over, with its connections,
            loaded models and state.
        pricing: prices and rate limits; by default, limits are counted for these routes alone.
    """
    pricing = pricing or TargetPricing(config, MemoryStore())
    providers = open_providers(config, previous.providers if previous else {})
    cache = open_cache(config, previous.config if previous else None, previous.targets.cache if previous else None)
    targets = Targets(providers, pricing, _configured_paths(config), _listed_names(config, providers), cache)
    if previous is not None:
        targets.take_over(previous.targets)
    aliases = _alias_routes(config, targets)
    canaries = open_canaries(config, targets, previous.canaries if previous else ())
    return Routes(config, pricing, providers, targets, aliases, canaries)


def _alias_routes(config: Config, targets: Targets) -> dict[str, Route]:
    aliases: dict[str, Route] = {}
    comparable = ScoreContract(config, targets.score_space).comparable

    def resolve(name: str) -> Route:
        return aliases.get(name) or targets.adhoc_route(name)

    for name, model in config.models.items():
        if model.members:
            aliases[name] = composite_route(config, name, resolve, targets.is_instant, comparable)
        else:
            aliases[name] = _alias_route(name, model, targets)
    return aliases


def _alias_route(name: str, model: ModelSettings, targets: Targets) -> Route:
    measure = model.hedge is not None or model.strategy == "least_latency"
    candidates = [
        targets.candidate(entry.target, alias=name, weight=entry.weight, measure_latency=measure)
        for entry in model.all_targets
    ]
    return Route.of(candidates, model.strategy, model.hedge)


def _configured_paths(config: Config) -> frozenset[str]:
    """The `provider/model` of every target that the configuration mentions."""
    names = [*config.models, *(fallback for model in config.models.values() for fallback in model.fallbacks)]
    shadows = [model.shadow.target for model in config.models.values() if model.shadow]
    return frozenset([*(path for name in names for path in config.paths(name)), *shadows])


def _listed_names(config: Config, providers: Mapping[str, LiveProvider]) -> list[str]:
    """Configured names, then local models. The models of an upstream are not known, and so not listed."""
    local = [f"{name}/{model}" for name, provider in providers.items() for model in provider.model_names]
    return [*config.models, *local]


def _health_checks(providers: Mapping[str, LiveProvider], targets: Targets) -> Iterator[HealthCheck]:
    for name, provider in providers.items():
        settings = provider.settings.health_check
        for place, address in enumerate(provider.addresses if settings else ()):
            assert settings is not None  # noqa: S101  # there would be no address here
            shown = f"{name} at {address.name}" if address.name else name
            ask, breakers = partial(provider.is_well, address.health_url), partial(targets.breakers_of, name, place)
            yield HealthCheck(shown, settings, ask, breakers)
