"""The attributes of each span, in the naming convention that was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from gateway.telemetry import names
from gateway.telemetry.exchange import AttemptPosition, Exchange
from gateway.telemetry.names import Convention
from providers.attempts import AttemptRecord
from providers.types import Ranking, RerankRequest, TextOrParts, Usage

AttributeValues = dict[str, Any]

MAX_NAME_CHARACTERS = 256
"""Model names and response ids longer than this are cut, in spans and in the log."""


class ProviderAddress(Struct, frozen=True):
    """A provider as spans name it.

    Attributes:
        adapter: the adapter's name, as in `cohere`.
        address: the host of its server; None if there is none, as for the local engine.
        port: None where it is not known.
    """

    adapter: str
    address: str | None = None
    port: int | None = None


class ContentLimits(Struct, frozen=True):
    """How much of queries and documents may be recorded.

    Attributes:
        inputs: whether the query and the documents may be.
        outputs: whether the results may be.
        documents: how many, at most.
        characters: of each text, at most.
    """

    inputs: bool = False
    outputs: bool = False
    documents: int = 10
    characters: int = 1000


class SpanAttributes:
    """Makes the attributes of the rerank span and its attempts.

    Args:
        convention: how attributes are named.
        peers: the configured providers, by their names.
        content: how much of queries and documents may be recorded.
    """

    def __init__(self, convention: Convention, peers: Mapping[str, ProviderAddress], content: ContentLimits) -> None:
        self._convention, self.peers, self._content = convention, peers, content

    def rerank_attributes(self, exchange: Exchange) -> AttributeValues:
        """The attributes of the logical call. The exchange must have a request."""
        request, ranking, convention = exchange.request, exchange.ranking, self._convention
        assert request is not None  # noqa: S101  # there is no such span without one
        values: AttributeValues = {
            **convention.fixed,
            convention.model: shorten(request.model),
            convention.documents: len(request.documents),
            names.ATTEMPTS.name: len(exchange.call.recorder.attempts),
        }
        if request.top_n is not None:
            values[convention.top_n] = request.top_n
        if exchange.error_type:
            values[names.ERROR_TYPE.name] = exchange.error_type
        if ranking is not None:
            self._add_ranking(values, ranking, exchange)
        if self._content.inputs:
            values.update(self._input_content(request))
        if self._content.outputs and ranking is not None:
            values.update(self._output_content(request, ranking))
        return values

    def attempt_attributes(self, attempt: AttemptRecord, position: AttemptPosition) -> AttributeValues:
        """The attributes of one attempt, which stands at `position` in its request."""
        values: AttributeValues = {
            names.PROVIDER.name: attempt.provider,
            names.RETRY.name: position.retry,
            names.FALLBACK.name: position.fallback,
            names.HEDGED.name: position.hedged,
        }
        if self._convention.attempt_model is not None:
            values[self._convention.attempt_model] = shorten(attempt.model)
        peer = self.peers.get(attempt.provider)
        if peer is not None:
            values[self._convention.provider] = peer.adapter
        if peer is not None and peer.address is not None:
            values[names.ADDRESS.name] = peer.address
            if peer.port is not None:
                values[names.PORT.name] = peer.port
            if attempt.status is not None:
                values[names.STATUS.name] = attempt.status
        optional = {
            names.PARTS.name: len(attempt.parts),
            names.PART_DOCUMENTS.name: attempt.documents,
            names.KEY.name: attempt.key,
            names.ERROR_TYPE.name: attempt.error_type,
        }
        values.update({name: value for name, value in optional.items() if value})
        return values

    def _add_ranking(self, values: AttributeValues, ranking: Ranking, exchange: Exchange) -> None:
        convention, usage = self._convention, ranking.usage
        values[names.SERVED_BY.name] = ranking.provider
        if peer := self.peers.get(ranking.provider):
            values[convention.provider] = peer.adapter
        if convention.response_model:
            values[convention.response_model] = shorten(ranking.model)
        if convention.response_id and ranking.id:
            values[convention.response_id] = shorten(ranking.id)
        if usage is not None and (tokens := _input_tokens(usage)) is not None:
            values[convention.input_tokens] = tokens
        if usage is not None and usage.search_units is not None and convention.search_units:
            values[convention.search_units] = usage.search_units
        if exchange.degraded:
            values[names.DEGRADED.name] = True
        if ranking.details and (truncated := ranking.details.get("truncated_documents")):
            values[names.TRUNCATED.name] = truncated

    def _input_content(self, request: RerankRequest) -> AttributeValues:
        content = self._content
        query = content_text(request.query, content.characters)
        documents = [content_text(document, content.characters) for document in request.documents[: content.documents]]
        left_out = {names.LEFT_OUT.name: len(request.documents) - len(documents)}
        if not self._convention.indexed_content:
            return {names.QUERY.name: query, names.DOCUMENTS.name: tuple(documents), **left_out}
        numbered = {names.OPENINFERENCE_DOCUMENT.format(i): text for i, text in enumerate(documents)}
        return {names.OPENINFERENCE_QUERY: query, names.OPENINFERENCE_INPUT: query, **numbered, **left_out}

    def _output_content(self, request: RerankRequest, ranking: Ranking) -> AttributeValues:
        results = ranking.results[: self._content.documents]
        if not self._convention.indexed_content:
            return {names.SCORES.name: tuple(result.relevance_score for result in results)}
        values: AttributeValues = {}
        for place, result in enumerate(results):
            values[names.OPENINFERENCE_SCORE.format(place)] = result.relevance_score
            if self._content.inputs:
                text = content_text(request.documents[result.index], self._content.characters)
                values[names.OPENINFERENCE_RESULT.format(place)] = text
        return values


def _input_tokens(usage: Usage) -> int | None:
    """Billed tokens where they are told, as the GenAI conventions demand: a reranker is billed by its input."""
    return usage.prompt_tokens if usage.billed_tokens is None else usage.billed_tokens


def server_attributes(exchange: Exchange) -> AttributeValues:
    """The attributes of the HTTP request's span."""
    values: AttributeValues = {
        names.METHOD.name: "POST",
        names.ROUTE.name: exchange.route,
        names.REQUEST_ID.name: exchange.call.id,
        names.DIALECT.name: exchange.dialect,
        names.BYTES_IN.name: exchange.bytes_in,
        names.OVERHEAD.name: exchange.overhead,
    }
    if exchange.status:
        values[names.STATUS.name] = exchange.status
        values[names.BYTES_OUT.name] = exchange.bytes_out
    if exchange.error_type:
        values[names.ERROR_TYPE.name] = exchange.error_type
    if exchange.caller:
        values[names.CALLER.name] = exchange.caller
    return values


def content_text(part: TextOrParts, characters: int) -> str:
    """The text of a query or document, cut. Of content parts only the number is told: they may be images."""
    if not isinstance(part, str):
        return f"[{len(part.content)} content parts]"
    return part if len(part) <= characters else part[: characters - 1] + "…"


def shorten(name: str) -> str:
    """A name that a caller or a provider wrote, cut at MAX_NAME_CHARACTERS."""
    return name if len(name) <= MAX_NAME_CHARACTERS else name[: MAX_NAME_CHARACTERS - 1] + "…"
