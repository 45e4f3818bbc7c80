"""What spans tell of a call's documents: texts only where the configuration allows it, ids and scores where a
convention shows by them how documents have moved."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
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
            shown = max(shown, self._add_rows(values, request, exchange.documents, results))
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
        self, values: AttributeValues, request: RerankRequest, written: Sequence[Any], results: Sequence[Ranked]
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
            row = self._input_row(place, request, written) if content.input_rows else {}
            if content.output_rows and place < len(results):
                row |= self._output_row(place, results[place], request, written)
            # One more is needed for the number of those that are left out.
            if len(values) + len(row) >= names.MAX_ATTRIBUTES:
                return place
            values |= row
        return most

    def _input_row(self, index: int, request: RerankRequest, written: Sequence[Any]) -> AttributeValues:
        name = names.OPENINFERENCE_DOCUMENT.format(index)
        row: AttributeValues = {name + "id": document_id(index, written)}
        if (score := first_stage_score(index, written)) is not None:
            row[name + "score"] = score
        if self._content.inputs:
            row[name + "content"] = content_text(request.documents[index], self._content.characters)
        return row

    def _output_row(
        self, place: int, result: Ranked, request: RerankRequest, written: Sequence[Any]
    ) -> AttributeValues:
        name = names.OPENINFERENCE_RESULT.format(place)
        row: AttributeValues = {name + "id": document_id(result.index, written), name + "score": result.relevance_score}
        if self._content.outputs and self._content.inputs:
            row[name + "content"] = content_text(request.documents[result.index], self._content.characters)
        return row


def document_id(index: int, written: Sequence[Any]) -> str:
    """The id that the caller gave the document, else its position.

    Args:
        index: the document's position in the request.
        written: the documents as the caller wrote them; empty where they cannot have ids.
    """
    found = _beside_text(index, written, "id")
    is_id = (isinstance(found, str) and found) or (isinstance(found, int) and not isinstance(found, bool))
    return shorten(str(found)) if is_id else str(index)


def first_stage_score(index: int, written: Sequence[Any]) -> float | None:
    """The score that the caller gave the document, as found by a search before; None without one."""
    found = _beside_text(index, written, "score")
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    try:
        return float(found) if isfinite(found) else None
    except OverflowError:
        return None


def _beside_text(index: int, written: Sequence[Any], key: str) -> Any:
    """A value beside the text of a document. An object without text or content is ranked as a whole: all of it is
    text of the document, and nothing of it may be told."""
    document = written[index] if index < len(written) else None
    has_text = isinstance(document, dict) and ("text" in document or "content" in document)
    return document.get(key) if has_text and document is not None else None


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
