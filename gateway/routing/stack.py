"""Which policies wrap which target, in which order."""

from __future__ import annotations

from msgspec import Struct

from gateway.backends.local import LocalBackend
from gateway.config.providers import ProviderSettings
from gateway.policy.breaker import Breaker, BreakerState
from gateway.policy.deadline import Deadline
from gateway.policy.latency import Latency
from gateway.policy.pairs import PairwiseFanOut
from gateway.policy.retry import Retry, RetryBudget
from gateway.policy.target import Target
from gateway.routing.pricing import TargetPricing
from providers.types import Backend


class TargetState(Struct, eq=False):
    """One (provider, model) and what is known of it, shared by all names that lead to it and kept over a reload."""

    settings: ProviderSettings
    backend: Backend
    breaker: BreakerState
    retry_budget: RetryBudget
    latency: Latency


def stack(guarded: TargetState, provider: str, model: str, shown_as: str | None, terms: TargetPricing) -> Backend:
    settings = guarded.settings
    target = Target(guarded.backend, provider, model, shown_as, terms.cost(provider, model))
    breaker = Breaker(target, guarded.breaker, settings.breaker, provider, model)
    return terms.limited(Retry(breaker, settings.retry, guarded.retry_budget), provider, model)


def _in_time(backend: Backend, provider: str) -> Backend:
    """An HTTP backend ends its calls by itself; what runs in this process may be anybody's."""
    return Deadline(PairwiseFanOut(backend), provider) if isinstance(backend, LocalBackend) else backend
