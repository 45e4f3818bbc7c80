"""Our own dialect as an upstream's: `POST /v1/rerank` of another gateway, or of the replicas of a local model.

Source: docs/clients.md (2026-11)

Figures about how the answer was made (`queue_ms`, `truncated_documents`, …) are kept, and so are which texts were cut,
what the scores are and what is warned of. What a gateway says of itself (its provider, its latency, its attempts, its
price) is not: the one that asks has its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder

from providers.types import Ranking, RerankRequest, Usage
from providers.wire.fields import without_nulls
from providers.wire.results import Rows, decode_response, known_usage
from providers.wire.shape import Shape, decoder, encoder, same
from providers.wire.spans import read_spans
from providers.wire.warnings import read_score_space, read_warnings

PATH, SCORE_PATH = "/v1/rerank", "/v1/score"

CANONICAL = ("top_n", "max_tokens_per_doc", "priority", "instruction")

OF_ITSELF = frozenset(
    {
        *("request_type", "provider", "latency", "chunk_index", "original_model_requested", "resolved_model_used"),
        *("attempts", "cost", "ignored", "score_space", "warnings"),
    }
)
RECORDS = frozenset({"truncated", "truncated_query", "cache", "members", "stages"})
"""Fields that are lists or objects here: a number by such a name is none of ours, and nobody could read it."""

MAX_FIGURES = 32
"""Figures kept of one answer: what an upstream may have shown."""

MAX_CUT_FIGURES = 4
"""Figures kept of one text that was cut."""

Encode = Callable[[RerankRequest], dict[str, Any]]


class _Answer(Struct):
    results: Rows
    usage: Usage | None = None
    id: str | None = None
    extra_fields: dict[str, Any] = {}


_ANSWER = Decoder(_Answer)


def encode_with(*extras: str) -> Encode:
    """The `encode` of an adapter whose upstream takes these fields beside our own."""
    plain = encoder(Shape(takes=same(*CANONICAL, *extras)))

    def encode(request: RerankRequest) -> dict[str, Any]:
        return {**plain(request), "return_spans": True} if request.return_spans else plain(request)

    return encode


def decode(body: bytes, request: RerankRequest) -> Ranking:
    answer = decode_response(body, _ANSWER)
    figures = {name: value for name, value in answer.extra_fields.items() if _is_figure(name, value)}
    kept = {**dict(list(figures.items())[:MAX_FIGURES]), **_cuts(answer.extra_fields, len(request.documents))}
    return Ranking(
        results=answer.results,
        usage=known_usage(answer.usage),
        id=answer.id,
        details=kept or None,
        score_space=read_score_space(answer.extra_fields.get("score_space")),
        warnings=read_warnings(answer.extra_fields.get("warnings")),
        spans=read_spans(body, "spans") if request.return_spans else None,
    )


def score_with(*extras: str) -> Encode:
    """The `encode` of our score API, which takes pairs: one query to many documents, or one to each."""

    def encode(request: RerankRequest) -> dict[str, Any]:
        queries = request.queries or [request.query]
        return without_nulls(
            model=request.model,
            queries=queries[0] if len(queries) == 1 else queries,
            documents=request.documents,
            max_tokens_per_doc=request.max_tokens_per_doc,
            priority=request.priority,
            instruction=request.instruction or None,
            **{name: request.extra.get(name) for name in extras},
        )

    return encode


decode_score = decoder(Shape(rows="data", score="score", counts="usage"))


def _is_figure(name: str, value: Any) -> bool:
    """A number that is not negative, or a yes or no; others take it for one, so nothing else may pass."""
    return name not in OF_ITSELF | RECORDS and isinstance(value, int | float) and 0 <= value < 2**53


def _cuts(told: dict[str, Any], documents: int) -> dict[str, Any]:
    """Which texts were cut, of what has the documented shape."""
    rows = told.get("truncated")
    known = [row for row in rows[:documents] if _is_cut(row)] if isinstance(rows, list) else []
    placed = [row for row in known if 0 <= row.get("index", -1) < documents]
    query = told.get("truncated_query")
    return {
        **({"truncated": placed} if placed else {}),
        **({"truncated_query": query} if _is_cut(query) else {}),
    }


def _is_cut(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and 0 < len(row) <= MAX_CUT_FIGURES
        and all(type(value) is int and 0 <= value < 2**53 for value in row.values())
    )
