"""The policies around one target: which ones, in which order, and why in that order."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from gateway.config.providers import ProviderSettings
from gateway.policy.breaker import Breaker, BreakerState
from gateway.policy.bulkhead import Bulkhead, BulkheadState
from gateway.policy.call_limits import CallLimits
from gateway.policy.deadline import Deadline
from gateway.policy.latency import LatencyProbe, LatencyStats
from gateway.policy.long_texts import NO_TEXT_SETTINGS, LongTexts, TextSettings
from gateway.policy.pairs import PairwiseFanOut
from gateway.policy.rate_limit import RateLimit
from gateway.policy.retry import Retry, RetryBudget
from gateway.policy.score_cache import CacheStats
from gateway.policy.split import Split
from gateway.policy.target import Target
from gateway.policy.target_facts import NO_FACTS, TargetFacts
from gateway.policy.target_id import TargetId
from gateway.routing.pricing import TargetPricing
from providers.capabilities import NOTHING_KNOWN
from providers.types import Backend


class TargetState:
    """What the policies remember of one target. All names that lead to the target share it, and it outlives a reload.

    Attributes:
        settings: the provider's. A reload that leaves the provider unchanged keeps this very object.

    Args:
        settings: see above.
        call_limits: of the target; None if none are known.
    """

    def __init__(self, settings: ProviderSettings, call_limits: CallLimits | None = None) -> None:
        self.settings = settings
        self.bulkhead = BulkheadState(settings.bulkhead)
        self.breaker = BreakerState(settings.breaker)
        self.retry_budget = RetryBudget(settings.retry)
        self.latency = LatencyStats()
        self.call_limits = call_limits or CallLimits(NOTHING_KNOWN)
        self.cache_stats = CacheStats()

    @property
    def has_calls(self) -> bool:
        """Whether calls are in flight: a bulkhead that is forgotten meanwhile would let in too many."""
        return bool(self.bulkhead.active or self.bulkhead.waiting or self.retry_budget.retrying)

    @property
    def is_in_use(self) -> bool:
        """Whether something would be lost if it were forgotten: calls, an ejection, or that the target has backend."""
        return self.has_calls or not self.breaker.is_blank


def as_it_is(backend: Backend) -> Backend:
    """No policy at all."""
    return backend


class StackOptions(Struct, frozen=True, kw_only=True):
    """What differs from target to target, and from route to route.

    Attributes:
        facts: what is known of the target's model.
        texts: what is done about its long texts.
        alias: the configuration's name that leads here, which answers show; None shows the provider's name of it.
        measure_latency: whether the route compares its targets by latency, or hedges.
        is_limited: whether its calls count towards the rate limits of the configuration.
        in_process: whether the backend works inside the gateway.
        cached: puts the cache around it, where there is one.
    """

    facts: TargetFacts = NO_FACTS
    texts: TextSettings = NO_TEXT_SETTINGS
    alias: str | None = None
    measure_latency: bool = False
    is_limited: bool = True
    in_process: bool = False
    cached: Callable[[Backend], Backend] = as_it_is


DEFAULT_OPTIONS = StackOptions()
"""Those of an upstream of which nothing is known, under its own name."""


def stack(
    backend: Backend,
    target: TargetId,
    state: TargetState,
    pricing: TargetPricing,
    chosen: StackOptions = DEFAULT_OPTIONS,
) -> Backend:
    """One target with its policies, innermost first: a request meets the last line first.

    Args:
        backend: the provider's, or the local model.
        target: whose policies these are.
        state: the target's.
        pricing: what its answers cost, and its rate limits.
        chosen: what differs from target to target, and from route to route.
    """
    if chosen.in_process:
        # An HTTP client ends calls at the deadline, and its adapter knows about pairs; a local model does neither.
        backend = Deadline(PairwiseFanOut(backend), target.provider)
    # Inside the retries, so that a call gives its slot back while it pauses between two attempts.
    backend = Bulkhead(backend, state.bulkhead, target)
    # Around the bulkhead, so that a recorded attempt includes the wait for a slot.
    backend = Target(backend, target, chosen.alias, pricing.cost(target), chosen.facts)
    # Around the verification in Target, so that unusable answers count as failures, like those that never came.
    backend = Breaker(backend, state.breaker, target)
    limits = pricing.limits(target) if chosen.is_limited else ()
    if limits:
        # Inside the retries, so that it counts attempts; around the breaker, whose calls it must not be taken for.
        backend = RateLimit(backend, pricing.store, limits)
    # Around the breaker: it counts every attempt, and while it is open there is nothing to retry.
    backend = Retry(backend, state.settings.retry, state.retry_budget)
    if state.call_limits.matter and not chosen.in_process:
        # Around the retries, which thus repeat one part alone; each part is a call like any other to what is inside.
        backend = Split(backend, state.call_limits, target, state.settings.bulkhead.concurrency)
    if chosen.texts.matter and not chosen.in_process:
        # Around the split, since windows make more documents of one.
        backend = LongTexts(backend, chosen.texts, state.call_limits, target)
    if chosen.measure_latency:
        # Around the retries: what counts is how long a caller waits for an answer.
        backend = LatencyProbe(backend, state.latency)
    # Around everything: what is known needs no target, and says nothing of how fast one is.
    return chosen.cached(backend)
