"""How several rankings of the same documents become one. Pure functions of ranks or scores, and of nothing else.

Documents with one score share one rank, the mean of their places: so no method depends on the order of the documents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from providers.types import Ranked

FusionMethod = Literal["rrf", "mean_rank", "weighted_scores"]

RRF_K = 60
"""What is added to every rank, so that the first places do not decide alone.

Source: Cormack, Clarke and Büttcher, Reciprocal rank fusion outperforms Condorcet and individual rank learning methods,
SIGIR 2009."""

Scores = dict[int, float]


def fuse(
    rankings: Sequence[Sequence[Ranked]], weights: Sequence[float], method: FusionMethod, documents: int
) -> list[Ranked]:
    """One ranking of all documents that are in at least one of the rankings, by index.

    Args:
        rankings: each in descending order of its scores, none empty.
        weights: one for each ranking.
        method: rrf: the sum of weight / (60 + rank). mean_rank: from 1 for a document that all have first towards 0.
            weighted_scores: the weighted mean of the scores. From a ranking that leaves it out a document gets nothing
            in rrf, the mean of the places that are left in mean_rank, and the lowest score in weighted_scores.
        documents: how many there were to rank.
    """
    contributions = [_CONTRIBUTION[method](ranking, documents) for ranking in rankings]
    total = 1.0 if method == "rrf" else sum(weights)
    indices = sorted(set().union(*(scores for scores, _ in contributions)))
    return [Ranked(index, _sum(index, contributions, weights) / total) for index in indices]


def _sum(index: int, contributions: Sequence[tuple[Scores, float]], weights: Sequence[float]) -> float:
    pairs = zip(contributions, weights, strict=True)
    return sum([weight * scores.get(index, missing) for (scores, missing), weight in pairs])


def ranks(ranking: Sequence[Ranked]) -> Scores:
    """The rank of each document, from 1; equal scores share the mean of their places."""
    found: Scores = {}
    start = 0
    while start < len(ranking):
        end = start
        while end < len(ranking) and ranking[end].relevance_score == ranking[start].relevance_score:
            end += 1
        rank = (start + 1 + end) / 2
        found.update({result.index: rank for result in ranking[start:end]})
        start = end
    return found


def _reciprocal_ranks(ranking: Sequence[Ranked], documents: int) -> tuple[Scores, float]:
    return {index: 1 / (RRF_K + rank) for index, rank in ranks(ranking).items()}, 0.0


def _relative_ranks(ranking: Sequence[Ranked], documents: int) -> tuple[Scores, float]:
    missing = (len(ranking) + 1 + documents) / 2
    return {index: _relative(rank, documents) for index, rank in ranks(ranking).items()}, _relative(missing, documents)


def _relative(rank: float, documents: int) -> float:
    return 1 - (rank - 1) / documents


def _scores(ranking: Sequence[Ranked], documents: int) -> tuple[Scores, float]:
    return {result.index: result.relevance_score for result in ranking}, ranking[-1].relevance_score


_CONTRIBUTION: Mapping[FusionMethod, Callable[[Sequence[Ranked], int], tuple[Scores, float]]] = {
    "rrf": _reciprocal_ranks,
    "mean_rank": _relative_ranks,
    "weighted_scores": _scores,
}
"""Of each method: what a ranking gives to each of its documents, and to one that it leaves out."""
