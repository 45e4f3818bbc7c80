"""Every answer is verified before it leaves, for all targets alike."""

from __future__ import annotations

from math import isfinite

from providers.errors import BadAnswer
from providers.types import Ranked, RerankRequest


def verified(results: list[Ranked], request: RerankRequest) -> list[Ranked]:
    """The results sorted by (-score, index) and cut to `top_n`.

    Raises:
        BadAnswer: no results at all, a score request not answered for every pair, an index out of range or given
            twice, a score that is not a finite number.
    """
    if not results:
        raise BadAnswer("the answer has no results")
    count = len(request.documents)
    if request.queries is not None and len(results) != count:
        raise BadAnswer(f"the answer has {len(results)} scores for {count} pairs")
    seen = bytearray(count)
    for result in results:
        _check(result, count, seen)
    ordered = sorted(results, key=_rank)
    return ordered if request.top_n is None else ordered[: request.top_n]


def _check(result: Ranked, count: int, seen: bytearray) -> None:
    index = result.index
    if not 0 <= index < count:
        raise BadAnswer(f"the answer has index {index}, but there are {count} documents")
    if seen[index]:
        raise BadAnswer(f"the answer has index {index} twice")
    if not isfinite(result.relevance_score):
        raise BadAnswer(f"the answer's score at index {index} is not a finite number")
    seen[index] = 1


def _rank(result: Ranked) -> tuple[float, int]:
    return (-result.relevance_score, result.index)
