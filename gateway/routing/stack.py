"""The policies around one target: which ones, in which order, and why in that order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from gateway.config.providers import ProviderSettings
from gateway.policy.breaker import Breaker, BreakerState
from gateway.policy.bulkhead import Bulkhead, BulkheadState
from gateway.policy.call_limits import CallLimits
from gateway.policy.deadline import Deadline
from gateway.policy.fallback import Step
from gateway.policy.latency import LatencyProbe, LatencyStats
from gateway.policy.load_balancer import LoadBalancer
from gateway.policy.long_texts import NO_TEXT_SETTINGS, LongTexts, TextSettings
from gateway.policy.pairs import PairwiseFanOut
from gateway.policy.rate_limit import RateLimit
from gateway.policy.retry import Retry, RetryBudget
from gateway.policy.score_cache import CacheStats
from gateway.policy.split import Split
from gateway.policy.strategy import Candidate, selection_policy
from gateway.policy.target import Target
from gateway.policy.target_facts import NO_FACTS, TargetFacts
from gateway.policy.target_id import TargetId
from gateway.routing.live_provider import Address
from gateway.routing.pricing import TargetPricing
from providers.capabilities import NOTHING_KNOWN
from providers.types import Backend


class AddressState:
    """What the policies remember of one target at one of its addresses.

    Args:
        settings: the provider's.
    """

    def __init__(self, settings: ProviderSettings) -> None:
        self.bulkhead = BulkheadState(settings.bulkhead)
        self.breaker = BreakerState(settings.breaker)
        self.latency = LatencyStats()


class TargetState:
    """What the policies remember of one target. All names that lead to the target share it, and it outlives a reload.

    Attributes:
        settings: the provider's. A reload that leaves the provider unchanged keeps this very object.

    Args:
        settings: see above.
        call_limits: of the target; None if none are known.
        addresses: at how many addresses it is.
    """

    def __init__(self, settings: ProviderSettings, call_limits: CallLimits | None = None, addresses: int = 1) -> None:
        self.settings = settings
        self.addresses = [AddressState(settings) for _ in range(addresses)]
        self.retry_budget = RetryBudget(settings.retry)
        self.latency = LatencyStats()
        self.call_limits = call_limits or CallLimits(NOTHING_KNOWN)
        self.cache_stats = CacheStats()

    @property
    def active(self) -> int:
        """Calls in flight, at all addresses."""
        return sum([address.bulkhead.active for address in self.addresses])

    @property
    def waiting(self) -> int:
        """Calls that wait for a slot, at all addresses."""
        return sum([address.bulkhead.waiting for address in self.addresses])

    @property
    def has_calls(self) -> bool:
        """Whether calls are in flight: a bulkhead that is forgotten meanwhile would let in too many."""
        return bool(self.active or self.waiting or self.retry_budget.retrying)

    @property
    def is_in_use(self) -> bool:
        """Whether something would be lost if it were forgotten: calls, an ejection, or that the target has served."""
        return self.has_calls or not all(address.breaker.is_blank for address in self.addresses)


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
    addresses: Sequence[Address],
    target: TargetId,
    state: TargetState,
    pricing: TargetPricing,
    chosen: StackOptions = DEFAULT_OPTIONS,
) -> Backend:
    """One target with its policies, innermost first: a request meets the last line first.

    Args:
        addresses: where the target is; at least one, and as many as the state has.
        target: whose policies these are.
        state: the target's.
        pricing: what its answers cost, and its rate limits.
        chosen: what differs from target to target, and from route to route.
    """
    backend = _balance(addresses, target, state, pricing, chosen)
    # Around the breakers: it counts every attempt, and while they are open there is nothing to retry.
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


def _balance(
    addresses: Sequence[Address], target: TargetId, state: TargetState, pricing: TargetPricing, chosen: StackOptions
) -> Backend:
    """The target wherever it is. Inside the retries, so that the next address is tried before any pause."""
    strategy, candidates = state.settings.strategy, []
    for address, known in zip(addresses, state.addresses, strict=True):
        backend = _one_address(address, target, known, pricing, chosen)
        if strategy == "least_latency" and len(addresses) > 1:
            backend = LatencyProbe(backend, known.latency)
        candidates.append(Candidate(Step(backend), address.weight, known.latency, address.name))
    if len(candidates) == 1:
        return candidates[0].step.backend
    return LoadBalancer(selection_policy(strategy, candidates))


def _one_address(
    address: Address, target: TargetId, known: AddressState, pricing: TargetPricing, chosen: StackOptions
) -> Backend:
    """The target at one address, with the policies that know this address alone."""
    backend, here = address.backend, replace(target, address=address.name)
    if chosen.in_process:
        # An HTTP client ends calls at the deadline, and its adapter knows about pairs; a local model does neither.
        backend = Deadline(PairwiseFanOut(backend), target.provider)
    # Inside the retries, so that a call gives its slot back while it pauses between two attempts.
    backend = Bulkhead(backend, known.bulkhead, here)
    # Around the bulkhead, so that a recorded attempt includes the wait for a slot.
    backend = Target(backend, here, chosen.alias, pricing.cost(target), chosen.facts)
    # Around the verification in Target, so that unusable answers count as failures, like those that never came.
    backend = Breaker(backend, known.breaker, here)
    limits = pricing.limits(target) if chosen.is_limited else ()
    # Inside the retries, so that it counts attempts; around the breaker, whose calls it must not be taken for.
    return RateLimit(backend, pricing.store, limits) if limits else backend
