"""What spans tell of a call's documents: texts only where the configuration allows it, ids and scores where a
convention shows by them how documents have moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from gateway.telemetry import names
from gateway.telemetry.exchange import Exchange
from gateway.telemetry.names import Convention
from providers.types import Ranked, RerankRequest, TextOrParts

AttributeValues = dict[str, Any]

MAX_NAME_CHARACTERS = 256
"""Model names, and ids of documents and of answers, longer than this are cut, in spans and in the log."""


class ContentLimits(Struct, frozen=True):
    """How much of queries and documents may be recorded.

    Attributes:
        inputs: whether the texts of the query and the documents may be.
        outputs: whether the results may be.
        input_rows, output_rows: whether ids and scores of documents may be, before and after, where a convention has
            attributes for them.
        documents: how many, at most.
        characters: of each text, at most.
    """

    inputs: bool = False
    outputs: bool = False
    input_rows: bool = True
    output_rows: bool = True
    documents: int = 10
    characters: int = 1000


class DocumentAttributes:
    """Makes the attributes about the query, the documents and the results.

    Args:
        content: how much may be recorded.
        conventions: how attributes are named.
    """

    def __init__(self, content: ContentLimits, conventions: Sequence[Convention]) -> None:
        self._content = content
        self._lists = not all(each.indexed_content for each in conventions)
        self._rows = any(each.indexed_content for each in conventions)

    def add(self, values: AttributeValues, exchange: Exchange) -> None:
        """Add to the attributes of the rerank span, which are all there but these. The exchange has a request."""
        request, ranking, content = exchange.request, exchange.ranking, self._content
        assert request is not None  # noqa: S101  # there is no such span without one
        results = ranking.results[: content.documents] if ranking is not None else []
        shown = -1
        if self._lists:
            shown = self._add_lists(values, request, results if content.outputs else [])
        if self._rows:
            shown = max(shown, self._add_rows(values, exchange, request, results))
        if shown >= 0:
            values[names.LEFT_OUT.name] = len(request.documents) - shown

    def _add_lists(self, values: AttributeValues, request: RerankRequest, results: Sequence[Ranked]) -> int:
        """Texts and scores, a list each. Returns how many documents are shown; -1 if none may be."""
        content = self._content
        if results:
            values[names.SCORES.name] = tuple(result.relevance_score for result in results)
        if not content.inputs:
            return -1
        texts = shown_texts(request, content)
        values[names.QUERY.name], values[names.DOCUMENTS.name] = content_text(request.query, content.characters), texts
        return len(texts)

    def _add_rows(
        self, values: AttributeValues, exchange: Exchange, request: RerankRequest, results: Sequence[Ranked]
    ) -> int:
        """Attributes for each document and result, while there is room for one more of both."""
        content = self._content
        if content.inputs:
            query = content_text(request.query, content.characters)
            values |= {names.OPENINFERENCE_QUERY: query, names.OPENINFERENCE_INPUT: query}
        if not (content.input_rows or content.output_rows):
            return -1
        most = min(content.documents, len(request.documents))
        for place in range(most):
            row = self._input_row(place, exchange, request) if content.input_rows else {}
            if content.output_rows and place < len(results):
                row |= self._output_row(place, results[place], exchange, request)
            # One more is needed for the number of those that are left out.
            if len(values) + len(row) >= names.MAX_ATTRIBUTES:
                return place
            values |= row
        return most

    def _input_row(self, index: int, exchange: Exchange, request: RerankRequest) -> AttributeValues:
        name = names.OPENINFERENCE_DOCUMENT.format(index)
        row: AttributeValues = {name + "id": document_id(index, exchange)}
        if (score := first_stage_score(index, request)) is not None:
            row[name + "score"] = score
        if self._content.inputs:
            row[name + "content"] = content_text(request.documents[index], self._content.characters)
        return row

    def _output_row(self, place: int, result: Ranked, exchange: Exchange, request: RerankRequest) -> AttributeValues:
        name = names.OPENINFERENCE_RESULT.format(place)
        row: AttributeValues = {
            name + "id": document_id(result.index, exchange),
            name + "score": result.relevance_score,
        }
        if self._content.outputs and self._content.inputs:
            row[name + "content"] = content_text(request.documents[result.index], self._content.characters)
        return row


def document_id(index: int, exchange: Exchange) -> str:
    """The id that the caller gave the document, else its position."""
    found = exchange.document_id(index) if exchange.document_id is not None else None
    return shorten(found) if found else str(index)


def first_stage_score(index: int, request: RerankRequest) -> float | None:
    """The score of the document in the search that found it; None without one."""
    scores = request.first_stage_scores
    return None if scores is None else scores[index]


def shown_texts(request: RerankRequest, content: ContentLimits) -> tuple[str, ...]:
    """The texts of the first documents, each cut, and not more than may be recorded."""
    return tuple(content_text(document, content.characters) for document in request.documents[: content.documents])


def content_text(part: TextOrParts, characters: int) -> str:
    """The text of a query or document, cut. Of content parts only the number is told: they may be images."""
    if not isinstance(part, str):
        return f"[{len(part.content)} content parts]"
    return part if len(part) <= characters else part[: characters - 1] + "…"


def shorten(name: str) -> str:
    """A name that a caller or a provider wrote, cut at MAX_NAME_CHARACTERS."""
    return name if len(name) <= MAX_NAME_CHARACTERS else name[: MAX_NAME_CHARACTERS - 1] + "…"
