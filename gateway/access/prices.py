"""What a call costs: prices in two units, from a dated table that the configuration overrides.

The cost is unknown where the price is, or where the provider does not count what it bills. Unknown is None,
never 0: a gateway that says 0 bills nothing (https://github.com/BerriAI/litellm/issues/35194).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import translate
from functools import cache
from importlib.resources import files
from math import ceil
from typing import Any

import yaml
from msgspec import Struct
from pydantic import Field, model_validator

from gateway.settings import Settings
from providers.types import Ranking, RerankRequest

NANO = 1_000_000_000
"""Money is counted in whole billionths of a dollar, so that sums are exact."""


DOCUMENTS_PER_SEARCH = 100
CHUNK_TOKENS = 500
"""How searches are billed (https://cohere.com/pricing): a query with up to so many documents is one search, and a
document that has more than so many tokens, the query included, counts as several. Budgets reserve by these two."""


class Price(Settings):
    """The price of one model in US dollars. Where both units are given, both are billed."""

    per_search: float | None = Field(default=None, ge=0, le=1000, description="US dollars per search.")
    per_million_tokens: float | None = Field(
        default=None, ge=0, le=1_000_000, description="US dollars per million tokens."
    )
    documents_per_search: int | None = Field(
        default=None,
        ge=1,
        description="Documents that make up one search, for a provider that does not report searches.",
    )

    @model_validator(mode="after")
    def _says_something(self) -> Price:
        if self.per_search is None and self.per_million_tokens is None:
            raise ValueError("set per_search or per_million_tokens; to 0 if the model is free")
        return self

    def cost(self, ranking: Ranking, documents: int) -> int | None:
        """What an answer cost, in nano-dollars; None if the provider did not count what it bills."""
        # What costs nothing need not be counted.
        searches = self.searches(ranking, documents) if self.per_search else 0.0
        tokens = tokens_of(ranking) if self.per_million_tokens else 0
        return None if searches is None or tokens is None else self._sum(searches, tokens)

    def max_cost(self, chunks: int, tokens: int) -> int:
        """What a call of so many chunks (see `max_billable_chunks`) and tokens can cost at most, in nano-dollars."""
        return self._sum(ceil(chunks / (self.documents_per_search or DOCUMENTS_PER_SEARCH)), tokens)

    def searches(self, ranking: Ranking, documents: int) -> float | None:
        """The searches that the provider billed; where it does not say, what its documents come to; None if unknown."""
        counted = ranking.usage.search_units if ranking.usage else None
        if counted is None and self.documents_per_search:
            return ceil(documents / self.documents_per_search)
        return counted

    def _sum(self, searches: float, tokens: int) -> int:
        return ceil(
            searches * (self.per_search or 0) * NANO + tokens * (self.per_million_tokens or 0) * (NANO // 10**6)
        )


def sum_of(prices: Sequence[Price | None]) -> Price | None:
    """The price of a call of each; at least what they cost. None if that of one is unknown."""
    known = [price for price in prices if price is not None]
    if len(known) < len(prices):
        return None
    # Not validated: the sum may be above what one model may cost.
    return Price.model_construct(
        per_search=sum(price.per_search or 0 for price in known),
        per_million_tokens=sum(price.per_million_tokens or 0 for price in known),
        documents_per_search=min(price.documents_per_search or DOCUMENTS_PER_SEARCH for price in known),
    )


Prices = dict[str, Price]


FREE = Price(per_search=0)
"""The price of what runs in the gateway itself and costs nothing worth counting."""


class TargetCost(Struct, frozen=True):
    """What calls of one target cost, in US dollars; None where that is unknown."""

    price: Price

    def of(self, ranking: Ranking, documents: int) -> float | None:
        """What an answer cost to a request of so many documents."""
        nano = self.price.cost(ranking, documents)
        return None if nano is None else nano / NANO

    def at_most(self, request: RerankRequest) -> float:
        """What a call can cost whose answer never came."""
        return self.price.max_cost(max_billable_chunks(request), max_tokens(request)) / NANO


class PriceTable:
    """Prices by `provider/model`.

    Args:
        own: the configuration's, by the provider's configured name; `*` stands for any characters. An exact name wins
            over a pattern, the first pattern over later ones, and all of them over the shipped table.
        adapter: the name of the adapter behind a configured provider, under which the shipped table knows its models.
    """

    def __init__(self, own: Mapping[str, Price], adapter: Callable[[str], str]) -> None:
        self._own = own
        self._patterns = [(re.compile(translate(name)), price) for name, price in own.items() if "*" in name]
        self._adapter = adapter

    def find(self, provider: str, model: str) -> Price | None:
        """The price of a provider's model; None if it is unknown."""
        name = f"{provider}/{model}"
        if price := self._own.get(name):
            return price
        for pattern, price in self._patterns:
            if pattern.match(name):
                return price
        return shipped().get(f"{self._adapter(provider)}/{model}")


@cache
def shipped() -> Prices:
    """The table that comes with this package."""
    return {name: Price(**entry) for name, entry in _file()["prices"].items()}


def as_of() -> str:
    """The day of the shipped table."""
    return str(_file()["as_of"])


def tokens_of(ranking: Ranking) -> int | None:
    """The tokens that the provider charges for; None if it counted none."""
    return ranking.usage.charged_tokens if ranking.usage else None


def max_tokens(request: RerankRequest) -> int:
    """Upper bound on the tokens: one per UTF-8 byte; the query and the special tokens count with every document."""
    return sum(map(_bytes, request.documents)) + len(request.documents) * _max_query_tokens(request)


def max_billable_chunks(request: RerankRequest) -> int:
    """Upper bound on the documents that a provider which bills searches counts in a request."""
    query = _max_query_tokens(request)
    return sum(ceil((_bytes(document) + query) / CHUNK_TOKENS) for document in request.documents)


def estimate_tokens(request: RerankRequest) -> int:
    """The likely number of tokens: a quarter of the bytes."""
    return max_tokens(request) // 4


SPECIAL_TOKENS = 8
"""Upper bound on the tokens that a model's template adds to a query and a document."""


def _max_query_tokens(request: RerankRequest) -> int:
    """Upper bound on the tokens of the longest query with the instruction, and the special tokens."""
    return max(map(_bytes, request.queries or (request.query,))) + _bytes(request.instruction or "") + SPECIAL_TOKENS


def _bytes(text: Any) -> int:
    if type(text) is str:
        return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return len(str(text))


@cache
def _file() -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load((files("gateway.access") / "prices.yaml").read_text("utf-8"))
    return tree
