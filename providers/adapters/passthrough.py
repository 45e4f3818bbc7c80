"""The last resort: no ranking at all, but the caller's own order, marked as such, instead of an error."""

from __future__ import annotations

from providers.capabilities import Capabilities
from providers.spec import PureProvider
from providers.types import Ranked, Ranking, RerankRequest


def rank(request: RerankRequest) -> Ranking:
    """Every document with score 0.0, in the caller's order; `details` say that the answer is degraded."""
    return Ranking(
        results=[Ranked(index, 0.0) for index in range(len(request.documents))],
        details={"degraded": True},
    )


PROVIDER = PureProvider(
    name="passthrough",
    fields=frozenset({"top_n"}),
    rank=rank,
    capabilities={"*": Capabilities(scoring="pointwise")},
)
