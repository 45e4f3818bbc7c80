"""The targets of one configuration: their policies, their state, and the names that only callers mention."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from gateway.config.providers import capability_corrections
from gateway.errors import UnknownModel
from gateway.policy.breaker import BreakerState
from gateway.policy.call_limits import CallLimits
from gateway.policy.fallback import Step, UnknownTarget
from gateway.policy.latency import LatencyStats
from gateway.policy.score_cache import Cache, CacheStats
from gateway.policy.strategy import Candidate
from gateway.policy.target import Target
from gateway.policy.target_id import TargetId
from gateway.routing.caches import Wrap, caching
from gateway.routing.facts import capabilities_of, target_facts, text_settings
from gateway.routing.live_provider import Address, LiveProvider
from gateway.routing.pricing import TargetPricing
from gateway.routing.route import Route
from gateway.routing.stack import StackOptions, TargetState, as_it_is, stack
from gateway.suggestions import MAX_NAME_LENGTH, clause, near
from providers.capabilities import resolve
from providers.types import Backend, ScoreSpace

MAX_ADHOC_ROUTES = 4096
"""Routes kept for names that only callers mention. Without a bound, invented names would fill the memory.

When there are more, one is dropped that is not in use (`TargetState.is_in_use`), the oldest first; if all are in use,
the longest unused without a call in flight."""


class Targets:
    """Gives targets with their policies, and keeps what the policies remember of each.

    Args:
        providers: opened, by name.
        pricing: prices and rate limits.
        configured: the `provider/model` paths that the configuration mentions; their state is never dropped.
        names: every name that can be listed; suggestions for unknown names come from these.
        cache: around every target that callers use; None for none.
    """

    def __init__(
        self,
        providers: Mapping[str, LiveProvider],
        pricing: TargetPricing,
        configured: Collection[str],
        names: Sequence[str],
        cache: Cache | None = None,
    ) -> None:
        self._providers = providers
        self._pricing = pricing
        self._configured = configured
        self._names = names
        self.cache = cache
        self._states: dict[str, TargetState] = {}
        # The one that was used last comes last. None stands for one that is built when its name is next used.
        self._adhoc_routes: dict[str, Route | None] = {}
        self._unproven: dict[str, None] = {}  # Those of them that were not in use when they were last looked at.

    def take_over(self, previous: Targets) -> None:
        """Keep what the previous configuration's targets remember, where a target survives the reload unchanged.

        Of names that only callers mention, those in use. No route is built here: there may be thousands.
        """
        used_last_comes_last = [path for path in previous._adhoc_routes if path in previous._states]
        for path in [*(previous._states.keys() - previous._adhoc_routes.keys()), *used_last_comes_last]:
            state = previous._states[path]
            if (path in self._configured or state.is_in_use) and self._survives(path, state):
                self._states[path] = state
                if path not in self._configured:
                    self._remember(path, None)  # So that it counts towards the bound, and is dropped in its turn.

    def adhoc_route(self, path: str) -> Route:
        """The route of a `provider/model` that a caller wrote. One that does not exist gets a route that says so."""
        route = self._adhoc_routes.pop(path, None)
        if route is None:
            route = Route.of([self.candidate(path)])
            self._remember(path, route)
        else:
            self._adhoc_routes[path] = route
        return route

    def candidate(
        self, path: str, *, alias: str | None = None, weight: float = 1.0, measure_latency: bool = False
    ) -> Candidate:
        """One target as a route may choose it.

        Args:
            path: `provider/model`.
            alias: the configuration's name that leads here, which answers show; None shows the provider's name of it.
            weight: its share of the calls, relative to the other candidates of the route.
            measure_latency: whether the route needs to know how fast it answers.
        """
        target = TargetId.parse(path)
        addresses = self._addresses(target)
        if not addresses:
            return Candidate(Step(self._unknown(path), time_shares=0), weight, LatencyStats(), path)
        provider = self._providers[target.provider]
        facts = target_facts(provider.adapter, provider.settings, target.model)
        if provider.is_instant:
            # A pure function takes no time and cannot fail: there is nothing that a policy could do for it.
            pure = Target(addresses[0].backend, target, alias, self._pricing.cost(target), facts, is_instant=True)
            return Candidate(Step(pure, time_shares=0), weight, LatencyStats(), path)
        state = self._state(path, target)
        chosen = replace(
            _options(provider, target),
            alias=alias,
            measure_latency=measure_latency,
            cached=self._caching(target, state, alias),
        )
        policies = stack(addresses, target, state, self._pricing, chosen)
        # Of several addresses a second one is to have time as well.
        return Candidate(Step(policies, time_shares=min(len(addresses), 2)), weight, state.latency, path)

    def isolated(self, path: str) -> Backend:
        """A configured target with policies of its own, for calls that must not touch those of callers.

        It has its own breaker, bulkhead and retry budget, and does not count towards the gateway's rate limits.
        """
        target = TargetId.parse(path)
        addresses, provider = self._addresses(target), self._providers[target.provider]
        if not addresses or provider.is_instant:
            backend = addresses[0].backend if addresses else self._unknown(path)
            return Target(backend, target, cost=self._pricing.cost(target), is_instant=True)
        chosen = replace(_options(provider, target), is_limited=False)
        return stack(addresses, target, self._new_state(target), self._pricing, chosen)

    def is_busy(self, path: str) -> bool:
        """Whether callers wait for that target: for a slot, or for a model of the same provider in this process."""
        state, provider = self._states.get(path), self._providers.get(TargetId.parse(path).provider)
        if state is not None and state.waiting:
            return True
        loads = [model.stats() for model in provider.models.values()] if provider else []
        return any(load.queued_tokens for load in loads if load is not None)

    def survived(self, path: str) -> bool:
        """Whether a reload has left that target as it was; see `take_over`."""
        return path in self._states

    def exists(self, path: str) -> bool:
        """Whether there is such a provider, and it may have such a model; an upstream's own models are not known."""
        return bool(self._addresses(TargetId.parse(path)))

    def score_space(self, path: str) -> ScoreSpace:
        """What the scores of that `provider/model` are, as far as it is known without asking it."""
        target = TargetId.parse(path)
        provider = self._providers.get(target.provider)
        if provider is None:
            return "unknown"
        facts = target_facts(provider.adapter, provider.settings, target.model)
        return facts.static_space(provider.score_space(target.model))

    def is_instant(self, path: str) -> bool:
        """Whether that `provider/model` is a pure function, which leaves the documents in their order."""
        provider = self._providers.get(TargetId.parse(path).provider)
        return provider is not None and provider.is_instant

    def states(self) -> dict[str, TargetState]:
        """What is remembered of every target named so far, by `provider/model`."""
        return dict(self._states)

    def breakers(self) -> dict[str, Sequence[BreakerState]]:
        """The breakers of every target named so far, one for each address, by `provider/model`."""
        return {path: [address.breaker for address in state.addresses] for path, state in self._states.items()}

    def breakers_of(self, provider: str, place: int) -> Iterator[BreakerState]:
        """The breakers of one provider's targets, at the address in that place."""
        mine = (state for path, state in self._states.items() if path.startswith(f"{provider}/"))
        return (state.addresses[place].breaker for state in mine)

    def _addresses(self, target: TargetId) -> Sequence[Address]:
        """Where that target is; none if there is no such target."""
        provider = self._providers.get(target.provider)
        return () if provider is None or not target.model else provider.places(target.model)

    def _state(self, path: str, target: TargetId) -> TargetState:
        if path not in self._states:
            self._states[path] = self._new_state(target)
        return self._states[path]

    def _caching(self, target: TargetId, state: TargetState, alias: str | None) -> Wrap:
        if self.cache is None:
            return as_it_is
        settings, adapter = state.settings, self._providers[target.provider].adapter
        is_pointwise = capabilities_of(adapter, settings, target.model).scoring == "pointwise"
        return caching(self.cache, target, settings, is_pointwise, alias, state.cache_stats)

    def cache_stats(self) -> dict[str, CacheStats]:
        """What the cache has done for each target named so far, by `provider/model`."""
        return {path: state.cache_stats for path, state in self._states.items()}

    def _new_state(self, target: TargetId) -> TargetState:
        provider = self._providers[target.provider]
        known = capabilities_of(provider.adapter, provider.settings, target.model)
        corrected = resolve(target.model, capability_corrections(provider.settings)).limits
        addresses = len(provider.places(target.model))
        return TargetState(provider.settings, CallLimits(known, corrected, provider.limits), addresses)

    def _survives(self, path: str, state: TargetState) -> bool:
        """Whether the target survives a reload unchanged, its connections included.

        A provider that has not changed is taken over as it is, with the very same settings.
        """
        provider = self._providers.get(TargetId.parse(path).provider)
        return provider is not None and provider.settings is state.settings and self.exists(path)

    def _remember(self, path: str, route: Route | None) -> None:
        if len(path) > MAX_NAME_LENGTH:
            self._forget(path)
            return
        while len(self._adhoc_routes) >= MAX_ADHOC_ROUTES and self._drop_one():
            pass
        self._adhoc_routes[path] = route
        self._unproven[path] = None

    def _drop_one(self) -> bool:
        """Drop one route. Each name is looked at once, or the names in use would be looked at with every new one."""
        dropped = None
        while dropped is None and self._unproven:
            name = next(iter(self._unproven))
            del self._unproven[name]
            dropped = None if self._is_in_use(name) else name
        if dropped is None:
            dropped = next((name for name in self._adhoc_routes if not self._has_calls(name)), None)
        if dropped is not None:
            self._unproven.pop(dropped, None)
            del self._adhoc_routes[dropped]
            self._forget(dropped)
        return dropped is not None

    def _is_in_use(self, path: str) -> bool:
        state = self._states.get(path)
        return state is not None and state.is_in_use

    def _has_calls(self, path: str) -> bool:
        state = self._states.get(path)
        return state is not None and state.has_calls

    def _forget(self, path: str) -> None:
        if path not in self._configured:
            self._states.pop(path, None)

    def unknown_model(self, path: str, may_use: Callable[[str], bool]) -> UnknownModel:
        """The error for a name that leads nowhere, with what to write instead.

        Args:
            path: the name.
            may_use: whether the caller may ask for a name; no others are told.
        """
        short = path[:MAX_NAME_LENGTH]
        provider, slash, model = short.partition("/")
        open_ended = [name for name, live in self._providers.items() if live.takes_any_model]
        names = list(filter(may_use, self._names))
        others = [f"{name}/{model}" for name in near(provider, open_ended) if slash]
        reason = self._reason(short, may_use(f"{provider}/model"))
        where = "; GET /v1/models lists the names" if names else "" if reason else "; write provider/model"
        hint = clause(near(path, names) + list(filter(may_use, others))) or reason + where
        return UnknownModel(f'unknown model "{short}"{hint}', path)

    def _reason(self, path: str, may_use_provider: bool) -> str:
        """Why a name leads nowhere, as a clause; "" if it is just none of the names."""
        provider, slash, model = path.partition("/")
        if slash and not (provider and model):
            return ": it must have the form provider/model"
        if slash and provider not in self._providers:
            return f': no provider "{provider}" is configured'
        if not slash and may_use_provider and provider in self._providers:
            return f": it is a provider; write {provider}/ and one of its models"
        return ""

    def _unknown(self, path: str) -> UnknownTarget:
        short = path[:MAX_NAME_LENGTH]
        provider, slash, model = short.partition("/")
        error = partial(UnknownModel, f'unknown model "{short}"', path)
        return UnknownTarget(error, provider, model) if slash else UnknownTarget(error, "", provider)


def _options(provider: LiveProvider, target: TargetId) -> StackOptions:
    """What a provider says of one of its targets."""
    return StackOptions(
        facts=target_facts(provider.adapter, provider.settings, target.model),
        texts=text_settings(provider.adapter, provider.settings, target.model),
        in_process=provider.is_in_process,
    )
