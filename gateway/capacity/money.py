"""What a plan costs in a month."""

from __future__ import annotations

from math import ceil

from msgspec import Struct

from gateway.access.prices import CHUNK_TOKENS, DOCUMENTS_PER_SEARCH, Price, shipped
from gateway.capacity.demand import Demand
from gateway.errors import ConfigError, Problem
from gateway.suggestions import did_you_mean

HOURS = 730
"""Hours of a month."""

BYTES_PER_TOKEN = 4
"""As in gateway.access.prices.estimate_tokens."""


class Money(Struct, frozen=True):
    """US dollars in a month; None where a price is not given."""

    gateways: float | None
    replicas: float | None
    upstream: float | None

    @property
    def total(self) -> float | None:
        """All of it; None where a part is unknown."""
        parts = (self.gateways, self.replicas, self.upstream)
        return None if None in parts else sum(part for part in parts if part is not None)


def of(demand: Demand, hosts: int, replicas: int) -> Money:
    """The month's cost. Raises ConfigError for a model without a known price."""
    gateways = None if demand.core_hour is None else hosts * demand.cores * demand.core_hour * HOURS
    return Money(gateways, _replicas(demand, replicas), _upstream(demand))


def _replicas(demand: Demand, replicas: int) -> float | None:
    if replicas and not (demand.replica_cores or demand.replica_gpus):
        return None
    hour = 0.0
    for amount, price in ((demand.replica_cores, demand.core_hour), (demand.replica_gpus, demand.gpu_hour)):
        if replicas and amount and price is None:
            return None
        hour += amount * (price or 0.0)
    return replicas * hour * HOURS


def _upstream(demand: Demand) -> float | None:
    if demand.has_engine:
        return 0.0
    price = price_of(demand)
    if price is None:
        return None
    calls = (demand.mean_rate or demand.rate) * (1 - demand.cached) * HOURS * 3600
    by_search = (price.per_search or 0) * searches(demand, price)
    return calls * (by_search + (price.per_million_tokens or 0) * tokens(demand) / 1e6)


def price_of(demand: Demand) -> Price | None:
    """The price of a call; None if none is given."""
    if demand.per_search is not None or demand.per_million_tokens is not None:
        return Price.model_construct(
            per_search=demand.per_search, per_million_tokens=demand.per_million_tokens, documents_per_search=None
        )
    if demand.model is None:
        return None
    if price := shipped().get(demand.model):
        return price
    near = did_you_mean(demand.model, list(shipped()))
    raise ConfigError([Problem("model", f"has no price that is known{near}; give per_search or per_million_tokens")])


def tokens(demand: Demand) -> float:
    """Tokens of a request, with the query before each document."""
    return demand.documents * (demand.document_bytes + demand.query_bytes) / BYTES_PER_TOKEN


def searches(demand: Demand, price: Price) -> int:
    """Searches that a request is billed as."""
    chunks = ceil((demand.document_bytes + demand.query_bytes) / BYTES_PER_TOKEN / CHUNK_TOKENS)
    return ceil(demand.documents * chunks / (price.documents_per_search or DOCUMENTS_PER_SEARCH))
