"""What an evaluation costs: an estimate before it starts, and a limit while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from evaluation.errors import EvaluationError
from gateway.access.memory import MemoryStore
from gateway.access.prices import CHUNK_TOKENS, NANO, Price, shipped
from gateway.config.root import Config
from gateway.routing.pricing import TargetPricing

BYTES_PER_TOKEN = 4
"""Of English text, about; vendors count differently."""


class Estimator:
    """Estimates what calls cost.

    Args:
        config: whose prices hold; None for a gateway elsewhere whose configuration is not at hand. Then the table that
            comes with the gateway tells, by `provider/model`.
    """

    def __init__(self, config: Config | None) -> None:
        self._pricing = TargetPricing(config, MemoryStore()) if config else None

    def of(self, model: str, query: str, documents: Sequence[str]) -> float | None:
        """US dollars for one call, by the dearest of the model's targets; None if a price is unknown."""
        prices = self._pricing.prices(model) if self._pricing else [shipped().get(model)]
        costs = [None if price is None else _cost(price, query, documents) for price in prices]
        return None if None in costs or not costs else max(cost for cost in costs if cost is not None)


def _cost(price: Price, query: str, documents: Sequence[str]) -> float:
    tokens = [(len(query.encode()) + len(text.encode())) / BYTES_PER_TOKEN for text in documents]
    chunks = sum(max(1, ceil(count / CHUNK_TOKENS)) for count in tokens)
    return price.max_cost(chunks, ceil(sum(tokens))) / NANO


class Spending:
    """What was spent, and what calls under way may cost.

    Args:
        limit: in US dollars; None for no limit.
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self.spent = 0.0
        self._reserved = 0.0

    def reserve(self, estimate: float) -> None:
        """Before a call. Raises EvaluationError if it may exceed the limit."""
        if self._limit is not None and self.spent + self._reserved + estimate > self._limit:
            raise EvaluationError(
                f"stopped at --max-cost {self._limit:g}: {self.spent:.4f} US dollars are spent, and the next call may "
                "exceed the limit; answers so far are kept, and a run with a higher limit goes on from there"
            )
        self._reserved += estimate

    def settle(self, estimate: float, cost: float | None) -> None:
        """After a call: what it cost, or as estimated if that is unknown."""
        self._reserved -= estimate
        self.spent += estimate if cost is None else cost
