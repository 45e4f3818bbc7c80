"""Which policies wrap which target, in which order."""

from __future__ import annotations

from msgspec import Struct

from gateway.backends.local import Loading
from gateway.config.providers import ProviderConfig
from gateway.policy.breaker import Breaker, BreakerState
from gateway.policy.deadline import Deadline
from gateway.policy.latency import Latency
from gateway.policy.pairs import Pairs
from gateway.policy.retry import Retry, RetryBudget
from gateway.policy.target import Target
from gateway.routing.pricing import Terms
from providers.types import Backend


class Guarded(Struct, eq=False):
    """One (provider, model) and what is known of it, shared by all names that lead to it and kept over a reload."""

    settings: ProviderConfig
    backend: Backend
    breaker: BreakerState
    budget: RetryBudget
    latency: Latency


def _chain(guarded: Guarded, provider: str, model: str, shown_as: str | None, terms: Terms) -> Backend:
    settings = guarded.settings
    target = Target(guarded.backend, provider, model, shown_as, terms.cost(provider, model))
    breaker = Breaker(target, guarded.breaker, settings.breaker, provider, model)
    return terms.limited(Retry(breaker, settings.retry, guarded.budget), provider, model)


def _in_time(backend: Backend, provider: str) -> Backend:
    """An HTTP backend ends its calls by itself; what runs in this process may be anybody's."""
    return Deadline(Pairs(backend), provider) if isinstance(backend, Loading) else backend
