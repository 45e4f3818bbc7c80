"""Attributes that only Langfuse reads.

Langfuse has no kind for rerankers, and takes any span with a model's name for a generation, so that the attempts would
be counted beside their call. These attributes come first in its mapping of OpenTelemetry.

Source: https://langfuse.com/integrations/native/opentelemetry (2026-11)
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.telemetry import names
from gateway.telemetry.content import (
    AttributeValues,
    ContentLimits,
    content_text,
    document_id,
    first_stage_score,
    shown_texts,
)
from gateway.telemetry.exchange import Exchange
from providers.types import Ranking, RerankRequest

_encode = msgspec.json.Encoder().encode

ATTEMPT: AttributeValues = {names.LANGFUSE_TYPE: "span"}
"""What an attempt has: not a generation of its own, but a part of the call."""


class LangfuseAttributes:
    """Makes them for the rerank span.

    Args:
        content: how much of queries and documents may be recorded.
    """

    def __init__(self, content: ContentLimits) -> None:
        self._content = content

    def add(self, values: AttributeValues, exchange: Exchange) -> None:
        """Add the kind of the call, what it used and cost, and its texts if these may be recorded."""
        request, ranking = exchange.request, exchange.ranking
        values[names.LANGFUSE_TYPE] = "retriever"
        if ranking is not None and (counts := _counts(ranking)):
            values[names.LANGFUSE_USAGE] = _json(counts)
        if exchange.cost is not None:
            values[names.LANGFUSE_COST] = _json({"total": exchange.cost})
        if request is not None and self._content.inputs:
            values[names.LANGFUSE_INPUT] = _json(self._input(request))
        if request is not None and ranking is not None and self._content.outputs:
            values[names.LANGFUSE_OUTPUT] = _json(self._output(exchange, request, ranking))

    def _input(self, request: RerankRequest) -> dict[str, Any]:
        query = content_text(request.query, self._content.characters)
        return {"query": query, "documents": shown_texts(request, self._content)}

    def _output(self, exchange: Exchange, request: RerankRequest, ranking: Ranking) -> list[dict[str, Any]]:
        return [
            self._row(exchange, request, result.index, result.relevance_score)
            for result in ranking.results[: self._content.documents]
        ]

    def _row(self, exchange: Exchange, request: RerankRequest, index: int, score: float) -> dict[str, Any]:
        row: dict[str, Any] = {"id": document_id(index, exchange), "index": index, "score": score}
        if (first := first_stage_score(index, request)) is not None:
            row["first_stage_score"] = first
        if self._content.inputs:
            row["text"] = content_text(request.documents[index], self._content.characters)
        return row


def _counts(ranking: Ranking) -> dict[str, float]:
    usage = ranking.usage
    if usage is None:
        return {}
    counts = {"input": usage.input_tokens, "search_units": usage.search_units}
    return {name: count for name, count in counts.items() if count is not None}


def _json(value: Any) -> str:
    return _encode(value).decode("utf-8")
