"""Verify every answer of every target before it counts as one."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from operator import attrgetter

from msgspec.structs import asdict, astuple

from providers.errors import BadAnswer
from providers.types import (
    MAX_ANSWER_SPANS,
    SPANS_UNAVAILABLE,
    AnswerWarning,
    Ranked,
    Ranking,
    RerankRequest,
    Span,
    TextOrParts,
    Usage,
)

_INDEX = attrgetter("index")
_SCORE = attrgetter("relevance_score")

MAX_COUNT = 10**12
"""Upper bound of believable counts: more tokens or searches than one answer can cost."""

SPANS_CUT = AnswerWarning(
    SPANS_UNAVAILABLE.code,
    f"only the first {MAX_ANSWER_SPANS} spans of the answer are told; ask for fewer results with top_n",
)


def verify(results: list[Ranked], request: RerankRequest) -> list[Ranked]:
    """The results sorted by (-score, index) and cut to `top_n`.

    Raises:
        BadAnswer: no results at all, a score request not answered for every pair, an index out of range or given
            twice, a score that is not a finite number.
    """
    if not results:
        raise BadAnswer("the answer has no results")
    if request.queries is not None and len(results) != len(request.documents):
        raise BadAnswer(f"the answer has {len(results)} scores for {len(request.documents)} pairs")
    if len(results) > len(request.documents) or not _is_valid(results, len(request.documents)):
        raise BadAnswer(_describe_fault(results, len(request.documents)))
    # Two stable sorts by attribute cost a third of one by a tuple: no Python code runs per result.
    ordered = sorted(results, key=_INDEX)
    ordered.sort(key=_SCORE, reverse=True)
    return ordered if request.top_n is None else ordered[: request.top_n]


def verify_spans(
    ranking: Ranking, results: Sequence[Ranked], documents: Sequence[TextOrParts]
) -> tuple[dict[int, list[Span]] | None, tuple[AnswerWarning, ...]]:
    """The spans of these results that lie within the text they are of, and the ranking's warnings.

    The spans are None if there are none to verify. Of more than MAX_ANSWER_SPANS the rest is left out, with a warning.
    """
    spans = ranking.spans
    if spans is None:
        return None, ranking.warnings
    found, left = dict[int, list[Span]](), MAX_ANSWER_SPANS
    for result in results:
        told = spans.get(result.index, ())
        valid = _within(told[:left], documents[result.index])
        if valid:
            found[result.index] = valid
        left -= len(told)
        if left < 0:
            return found, (*(each for each in ranking.warnings if each != SPANS_CUT), SPANS_CUT)
    return found, ranking.warnings


def _within(spans: Sequence[Span], document: TextOrParts) -> list[Span]:
    size = len(document) if isinstance(document, str) else 0
    return [span for span in spans if 0 <= span.start < span.end <= size]


def plausible_usage(usage: Usage | None) -> Usage | None:
    """The target's counts without those that cannot be true: below 0, or above MAX_COUNT.

    Limits and budgets are settled by these counts: a negative one would give back money that was spent.
    """
    if usage is None:
        return None
    known = [count for count in astuple(usage) if count is not None]
    if not known or (min(known) >= 0 and max(known) <= MAX_COUNT):
        return usage
    counts = asdict(usage).items()
    return Usage(**{name: count for name, count in counts if count is not None and 0 <= count <= MAX_COUNT})


def _is_valid(results: list[Ranked], count: int) -> bool:
    indices = set(map(_INDEX, results))
    return (
        len(indices) == len(results)
        and min(indices) >= 0
        and max(indices) < count
        and all(map(isfinite, map(_SCORE, results)))
    )


def _describe_fault(results: list[Ranked], count: int) -> str:
    """What is wrong with results that are not valid, for an error message."""
    seen: set[int] = set()
    for result in results:
        index = result.index
        if not 0 <= index < count:
            return f"the answer has index {index}, but there are {count} documents"
        if index in seen:
            return f"the answer has index {index} twice"
        if not isfinite(result.relevance_score):
            break
        seen.add(index)
    return f"the answer's score at index {index} is not a finite number"
