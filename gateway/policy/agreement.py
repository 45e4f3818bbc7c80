"""How far two rankings of the same documents agree. Pure functions over the documents' positions in the request."""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Sequence

from gateway.telemetry.shadows import Agreement

COMPARED_AT_TOP = 10
"""Results whose overlap is measured: what people, and language models, look at."""

MAX_COMPARED = 200
"""Results of each ranking whose order is compared. Comparing all of ten thousand would hold the event loop."""


def compare(live: Sequence[int], candidate: Sequence[int]) -> Agreement:
    """Compare two rankings of one request.

    Args:
        live, candidate: the documents' indices, best first, none twice. At least one each.
    """
    return Agreement(
        overlap_at(COMPARED_AT_TOP, live, candidate),
        discordance(live[:MAX_COMPARED], candidate[:MAX_COMPARED]),
        live[0] == candidate[0],
    )


def overlap_at(k: int, live: Sequence[int], candidate: Sequence[int]) -> float:
    """Share of the first `k` results that both have; of fewer, where one of them is shorter."""
    k = min(k, len(live), len(candidate))
    return len(set(live[:k]) & set(candidate[:k])) / k


def discordance(live: Sequence[int], candidate: Sequence[int]) -> float | None:
    """Share of the pairs of common documents that the two order differently; None with fewer than two of them.

    Source: Kendall, A New Measure of Rank Correlation, 1938. Ties in the scores count as the order that was shown.
    """
    position = {document: place for place, document in enumerate(candidate)}
    places = [position[document] for document in live if document in position]
    pairs = len(places) * (len(places) - 1) // 2
    return _inversions(places) / pairs if pairs else None


def _inversions(places: Sequence[int]) -> int:
    """How many pairs stand in descending order."""
    seen: list[int] = []
    count = 0
    for place in places:
        count += len(seen) - bisect(seen, place)
        insort(seen, place)
    return count
