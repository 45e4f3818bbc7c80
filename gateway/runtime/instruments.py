"""What telemetry needs to know of the configuration and of what lives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from time import monotonic
from typing import NamedTuple

from gateway.config.root import Config
from gateway.errors import ConfigError, Problem
from gateway.policy.breaker import BreakerState
from gateway.policy.key_state import KeyState
from gateway.policy.score_cache import CacheStats
from gateway.routing import kinds
from gateway.routing.routes import Routes
from gateway.telemetry import metrics
from gateway.telemetry.attributes import ProviderAddress
from gateway.telemetry.observer import Reading, Telemetry
from gateway.telemetry.request_observer import NullObserver, RequestObserver


class Instruments(NamedTuple):
    """What a process reports to.

    Attributes:
        telemetry: exporters, and the state of what lives. Opened and closed by the application.
        observer: is told of every request and every reload.
    """

    telemetry: Telemetry
    observer: RequestObserver


def worker_instruments(config: Config, routes: Callable[[], Routes]) -> Instruments:
    """Those of a process that answers callers, not opened yet.

    Args:
        config: names what telemetry may name.
        routes: gives the routes in force, whose state is shown.

    Raises:
        ConfigError: for an environment variable with an unknown value.
    """
    try:
        telemetry = Telemetry(config.telemetry, server_addresses(config), configured_model_names(config))
    except ValueError as error:
        raise ConfigError([Problem("", str(error))]) from None
    telemetry.watch(lambda: breaker_readings(routes(), telemetry.label_allowlist.label))
    telemetry.watch(lambda: engine_readings(routes()))
    telemetry.watch(lambda: cache_readings(routes(), telemetry.label_allowlist.label))
    telemetry.watch(lambda: canary_readings(routes()))
    return Instruments(telemetry, telemetry)


def engine_instruments(config: Config, routes: Callable[[], Routes]) -> Instruments:
    """Those of the engine process: the state of its models only. Its callers are workers, which report the rest."""
    telemetry = Telemetry(config.telemetry, {}, configured_model_names(config), is_worker=False)
    telemetry.watch(lambda: engine_readings(routes()))
    return Instruments(telemetry, NullObserver())


def server_addresses(config: Config) -> dict[str, ProviderAddress]:
    """Every configured provider as spans name it."""
    return {name: _peer(config, name) for name in config.providers}


def configured_model_names(config: Config) -> Iterator[str]:
    """Every model name that the configuration mentions, as callers and as providers say it."""
    for name, model in config.models.items():
        yield name
        shadows = [model.shadow.target] if model.shadow else []
        for target in (*(entry.target for entry in model.all_targets), *model.members, *model.fallbacks, *shadows):
            yield target
            yield target.partition("/")[2]
    for name, provider in config.providers.items():
        for model_name in provider.models or {}:
            yield model_name
            yield f"{name}/{model_name}"


def engine_readings(routes: Routes) -> Iterator[Reading]:
    """The queues and batches of the local models."""
    for provider, models in routes.models.items():
        for name, loading in models.items():
            load, labels = loading.stats(), (provider, name)
            if load is not None:
                yield metrics.QUEUE_TOKENS, labels, load.queued_tokens
                yield metrics.BATCHES, labels, load.batches
                yield metrics.BATCH_TEXTS, labels, load.texts
                yield metrics.BATCH_TOKENS, labels, load.tokens
                yield metrics.BATCH_PADDING, labels, load.padding
                yield metrics.VECTOR_LOOKUPS, (*labels, "hit"), load.vector_hits
                yield metrics.VECTOR_LOOKUPS, (*labels, "miss"), load.vector_misses
                yield metrics.VECTOR_BYTES, labels, load.vector_bytes


def canary_readings(routes: Routes) -> Iterator[Reading]:
    """What the canaries have found. Workers that score none report none."""
    for canary in routes.canaries:
        if canary.checks:
            labels = (canary.target.provider, canary.target.model)
            yield metrics.CANARY_CHECKS, (*labels, "ok"), canary.checks - canary.failures
            yield metrics.CANARY_CHECKS, (*labels, "error"), canary.failures
            yield metrics.CANARY_STATE, (*labels, canary.state), 1.0
            yield metrics.CANARY_DRIFT, labels, canary.drift


def cache_readings(routes: Routes, label: Callable[[str], str]) -> Iterator[Reading]:
    """What the cache of scores has saved. Names that only callers wrote share one label."""
    if routes.targets.cache is None:
        return
    totals: dict[tuple[str, str], CacheStats] = {}
    for path, stats in routes.targets.cache_stats().items():
        provider, _, model = path.partition("/")
        known = totals.setdefault((provider, label(model)), CacheStats())
        known.hits, known.misses = known.hits + stats.hits, known.misses + stats.misses
        known.tokens, known.usd = known.tokens + stats.tokens, known.usd + stats.usd
    for target, stats in totals.items():
        yield metrics.CACHE_DOCUMENTS, (*target, "hit"), stats.hits
        yield metrics.CACHE_DOCUMENTS, (*target, "miss"), stats.misses
        yield metrics.CACHE_TOKENS, target, stats.tokens
        yield metrics.CACHE_COST, target, stats.usd
    store = routes.targets.cache.store
    yield metrics.CACHE_BYTES, (), store.memory_bytes
    yield metrics.CACHE_FAILURES, (), store.failures


def breaker_readings(routes: Routes, label: Callable[[str], str]) -> Iterator[Reading]:
    """How many breakers and keys are in which state. Names that only callers wrote share one label."""
    now = monotonic()
    counts: Counter[tuple[str, str, str]] = Counter()
    for path, breakers in routes.breakers().items():
        provider, _, model = path.partition("/")
        counts.update((provider, label(model), _breaker_state(breaker, now)) for breaker in breakers)
    for labels, count in counts.items():
        yield metrics.TARGET_STATE, labels, count
    keys = Counter((provider, key.name, _key_state(key, now)) for provider, key in routes.key_states())
    for labels, count in keys.items():
        yield metrics.KEY_STATE, labels, count


def _breaker_state(breaker: BreakerState, now: float) -> str:
    if not breaker.ejected:
        return "closed"
    return "open" if breaker.left(now) else "half_open"


def _key_state(key: KeyState, now: float) -> str:
    if key.rejected:
        return "rejected"
    return "cooling" if key.left(now) else "ok"


def _peer(config: Config, name: str) -> ProviderAddress:
    kind = kinds.configure(config, name)
    return ProviderAddress(kind.provider.name, *kind.server())
