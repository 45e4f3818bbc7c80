"""What each span says, in the convention that was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from gateway.telemetry import names
from gateway.telemetry.exchange import AttemptPosition, Exchange
from gateway.telemetry.names import Convention
from providers.attempts import AttemptRecord
from providers.types import Ranking, RerankRequest, TextOrParts

Found = dict[str, Any]

_LONGEST_NAME = 256


class Peer(Struct, frozen=True):
    """A provider as spans name it: its adapter, and the server behind it (address None for the local engine)."""

    adapter: str
    address: str | None = None
    port: int | None = None


class Content(Struct, frozen=True):
    """How much of queries and documents may be recorded."""

    inputs: bool = False
    outputs: bool = False
    documents: int = 10
    characters: int = 1000


class SpanAttributes:
    """A convention, the configured providers, and what may be recorded."""

    def __init__(self, convention: Convention, peers: Mapping[str, Peer], content: Content) -> None:
        self._convention, self.peers, self._content = convention, peers, content

    def of_rerank(self, exchange: Exchange) -> Found:
        """Attributes of the logical call."""
        request, ranking, words = exchange.request, exchange.ranking, self._convention
        assert request is not None  # noqa: S101  # there is no such span without one
        found: Found = {
            **words.fixed,
            words.model: short(request.model),
            words.documents: len(request.documents),
            names.ATTEMPTS.name: len(exchange.call.recorder.attempts),
        }
        if request.top_n is not None:
            found[words.top_n] = request.top_n
        if exchange.error_type:
            found[names.ERROR_TYPE.name] = exchange.error_type
        if ranking is not None:
            self._served(found, ranking, exchange)
        if self._content.inputs:
            found.update(self._inputs(request))
        if self._content.outputs and ranking is not None:
            found.update(self._outputs(request, ranking))
        return found

    def of_attempt(self, attempt: AttemptRecord, place: AttemptPosition) -> Found:
        """Attributes of one attempt."""
        found: Found = {
            names.PROVIDER.name: attempt.provider,
            names.RETRY.name: place.retry,
            names.FALLBACK.name: place.fallback,
            names.HEDGED.name: place.hedged,
        }
        if self._convention.attempt_model is not None:
            found[self._convention.attempt_model] = short(attempt.model)
        peer = self.peers.get(attempt.provider)
        if peer is not None:
            found[self._convention.provider] = peer.adapter
        if peer is not None and peer.address is not None:
            found[names.ADDRESS.name] = peer.address
            if peer.port is not None:
                found[names.PORT.name] = peer.port
            if attempt.status is not None:
                found[names.STATUS.name] = attempt.status
        if attempt.key:
            found[names.KEY.name] = attempt.key
        if attempt.error_type:
            found[names.ERROR_TYPE.name] = attempt.error_type
        return found

    def _served(self, found: Found, ranking: Ranking, exchange: Exchange) -> None:
        words, usage = self._convention, ranking.usage
        found[names.SERVED_BY.name] = ranking.provider
        if peer := self.peers.get(ranking.provider):
            found[words.provider] = peer.adapter
        if words.response_model:
            found[words.response_model] = short(ranking.model)
        if words.response_id and ranking.id:
            found[words.response_id] = short(ranking.id)
        if usage is not None and usage.prompt_tokens is not None:
            found[words.input_tokens] = usage.prompt_tokens
        if usage is not None and usage.search_units is not None and words.search_units:
            found[words.search_units] = usage.search_units
        if exchange.degraded:
            found[names.DEGRADED.name] = True
        if ranking.details and (truncated := ranking.details.get("truncated_documents")):
            found[names.TRUNCATED.name] = truncated

    def _inputs(self, request: RerankRequest) -> Found:
        content = self._content
        query = text_of(request.query, content.characters)
        documents = [text_of(document, content.characters) for document in request.documents[: content.documents]]
        left_out = {names.LEFT_OUT.name: len(request.documents) - len(documents)}
        if not self._convention.prefixed:
            return {names.QUERY.name: query, names.DOCUMENTS.name: tuple(documents), **left_out}
        numbered = {names.OPENINFERENCE_DOCUMENT.format(i): text for i, text in enumerate(documents)}
        return {names.OPENINFERENCE_QUERY: query, names.OPENINFERENCE_INPUT: query, **numbered, **left_out}

    def _outputs(self, request: RerankRequest, ranking: Ranking) -> Found:
        results = ranking.results[: self._content.documents]
        if not self._convention.prefixed:
            return {names.SCORES.name: tuple(result.relevance_score for result in results)}
        found: Found = {}
        for place, result in enumerate(results):
            found[names.OPENINFERENCE_SCORE.format(place)] = result.relevance_score
            if self._content.inputs:
                text = text_of(request.documents[result.index], self._content.characters)
                found[names.OPENINFERENCE_RESULT.format(place)] = text
        return found


def of_server(exchange: Exchange) -> Found:
    """Attributes of the HTTP request."""
    found: Found = {
        names.METHOD.name: "POST",
        names.ROUTE.name: exchange.route,
        names.REQUEST_ID.name: exchange.call.id,
        names.DIALECT.name: exchange.dialect,
        names.BYTES_IN.name: exchange.bytes_in,
        names.OVERHEAD.name: exchange.overhead,
    }
    if exchange.status:
        found[names.STATUS.name] = exchange.status
        found[names.BYTES_OUT.name] = exchange.bytes_out
    if exchange.error_type:
        found[names.ERROR_TYPE.name] = exchange.error_type
    if exchange.caller:
        found[names.CALLER.name] = exchange.caller
    return found


def text_of(part: TextOrParts, characters: int) -> str:
    """The text of a query or document, cut; content parts are told by their number only."""
    if not isinstance(part, str):
        return f"[{len(part.content)} content parts]"
    return part if len(part) <= characters else part[: characters - 1] + "…"


def short(name: str) -> str:
    """A name that a caller or a provider wrote, at a sane length."""
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
