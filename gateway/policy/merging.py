"""Several answers as one: what calls of the same target counted, told and failed with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from providers.errors import BadAnswer
from providers.types import AnswerWarning, Ranked, Ranking, RerankRequest, Span, Usage

SUMMED_DETAILS = ("truncated_documents",)
"""Details that are counts of documents. Others, such as times, mean nothing for several calls together."""


def part_of(request: RerankRequest, first: int, end: int) -> RerankRequest:
    """The request for the documents from `first` up to, but not including, `end`."""
    documents, queries, call = request.documents[first:end], request.queries, request.call
    scores = request.first_stage_scores
    share = len(documents) / len(request.documents)
    return replace(
        request,
        documents=documents,
        # Every part ranks its own, and of all together no more than the first `top_n` are wanted.
        top_n=None if request.top_n is None else min(request.top_n, len(documents)),
        queries=queries if queries is None or len(queries) == 1 else queries[first:end],
        first_stage_scores=None if scores is None else scores[first:end],
        query=queries[first] if queries is not None and len(queries) > 1 else request.query,
        call=replace(call, body_bytes=int(call.body_bytes * share)),
    )


def merge(parts: Sequence[tuple[int, Ranking]]) -> Ranking:
    """The answers of all parts as one; its results are in no order.

    Args:
        parts: each with the position of its first document in the whole request.

    Raises:
        BadAnswer: some of them were made without a model, or their scores mean different things.
    """
    rankings = [ranking for _, ranking in parts]
    first = rankings[0]
    if len({(bool((ranking.details or {}).get("degraded")), ranking.score_space) for ranking in rankings}) > 1:
        raise BadAnswer("the parts of a divided request were not all scored alike")
    costs = [ranking.cost for ranking in rankings]
    return replace(
        first,
        results=[
            Ranked(offset + result.index, result.relevance_score) for offset, each in parts for result in each.results
        ],
        usage=sum_usages([ranking.usage for ranking in rankings]),
        cost=total(costs),
        details=_details(parts) or None,
        warnings=_warnings(rankings),
        spans=_spans(parts),
    )


def _details(parts: Sequence[tuple[int, Ranking]]) -> dict[str, Any]:
    known = [ranking.details or {} for _, ranking in parts]
    truncated = [{**cut, "index": first + cut["index"]} for first, ranking in parts for cut in cuts_of(ranking.details)]
    counts = {
        name: sum(each.get(name, 0) for each in known) for name in SUMMED_DETAILS if any(name in e for e in known)
    }
    degraded = {"degraded": True} if known[0].get("degraded") else {}
    return {**degraded, **counts, **({"truncated": truncated} if truncated else {})}


def cuts_of(details: dict[str, Any] | None) -> list[dict[str, int]]:
    """The documents that an answer says were cut. Those of another gateway may be anything, and are looked at."""
    told = (details or {}).get("truncated")
    rows = [row for row in told if isinstance(row, dict)] if isinstance(told, list) else []
    return [row for row in rows if type(row.get("index")) is int and all(type(value) is int for value in row.values())]


def _spans(parts: Sequence[tuple[int, Ranking]]) -> dict[int, Sequence[Span]] | None:
    """Those of all parts, by the document's position in the whole request; None if no part tells any."""
    known = [(offset, ranking.spans) for offset, ranking in parts if ranking.spans is not None]
    return {offset + index: own for offset, spans in known for index, own in spans.items()} if known else None


def _warnings(rankings: Sequence[Ranking]) -> tuple[AnswerWarning, ...]:
    return tuple({warning: None for ranking in rankings for warning in ranking.warnings})


def sum_usages(usages: Sequence[Usage | None]) -> Usage | None:
    """The sum of all counts. A count that one of them lacks is unknown in the sum too: it is never guessed."""
    known = [usage for usage in usages if usage is not None]
    if len(known) < len(usages):
        return None
    return Usage(
        **{name: total(getattr(usage, name) for usage in known) for name in Usage.__struct_fields__}  # type: ignore[arg-type]  # ints and floats alike
    )


def total(counts: Iterable[float | None]) -> float | None:
    """The sum; None if one of them is unknown."""
    values = list(counts)
    return sum(value for value in values if value is not None) if None not in values else None


def first_error(errors: ExceptionGroup[Exception]) -> Exception:
    """The first error of tasks that ran together."""
    error = errors.exceptions[0]
    return first_error(error) if isinstance(error, ExceptionGroup) else error
