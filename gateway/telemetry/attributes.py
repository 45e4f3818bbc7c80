"""The attributes of each span, in the naming conventions that were chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from gateway.telemetry import langfuse, names
from gateway.telemetry.content import AttributeValues, DocumentAttributes, shorten
from gateway.telemetry.exchange import AttemptPosition, Exchange
from gateway.telemetry.langfuse import LangfuseAttributes
from gateway.telemetry.names import Convention
from providers.attempts import AttemptRecord
from providers.types import Ranking, Usage


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


def server_of(address: str, peer: ProviderAddress | None) -> tuple[str | None, int | None]:
    """Host and port of what was called: an attempt's own address, where the provider has several."""
    if address:
        host, _, port = address.rpartition(":")
        return host.strip("[]"), int(port)
    return (None, None) if peer is None else (peer.address, peer.port)


class SpanAttributes:
    """Makes the attributes of the rerank span and its attempts.

    Args:
        conventions: how attributes are named; a fact gets every name that they have for it.
        peers: the configured providers, by their names.
        documents: makes the attributes about queries, documents and results.
        langfuse: makes those for Langfuse; None if another backend shows the spans.
    """

    def __init__(
        self,
        conventions: Sequence[Convention],
        peers: Mapping[str, ProviderAddress],
        documents: DocumentAttributes,
        langfuse: LangfuseAttributes | None = None,
    ) -> None:
        self._conventions, self.peers, self._documents, self._langfuse = conventions, peers, documents, langfuse

    def rerank_attributes(self, exchange: Exchange) -> AttributeValues:
        """The attributes of the logical call, at most MAX_ATTRIBUTES. The exchange must have a request."""
        values: AttributeValues = {names.ATTEMPTS.name: len(exchange.call.recorder.attempts)}
        for convention in self._conventions:
            self._add_call(values, convention, exchange)
        if exchange.error_type:
            values[names.ERROR_TYPE.name] = exchange.error_type
        if exchange.ranking is not None:
            _add_outcome(values, exchange.ranking, exchange)
        if self._langfuse is not None:
            self._langfuse.add(values, exchange)
        self._documents.add(values, exchange)
        return values

    def attempt_attributes(self, attempt: AttemptRecord, position: AttemptPosition) -> AttributeValues:
        """The attributes of one attempt, which stands at `position` in its request."""
        values: AttributeValues = {
            names.PROVIDER.name: attempt.provider,
            names.RETRY.name: position.retry,
            names.FALLBACK.name: position.fallback,
            names.HEDGED.name: position.hedged,
        }
        peer = self.peers.get(attempt.provider)
        for convention in self._conventions:
            if convention.attempt_model is not None:
                values[convention.attempt_model] = shorten(attempt.model)
            if peer is not None:
                values[convention.provider] = peer.adapter
        host, port = server_of(attempt.address, peer)
        if host is not None:
            values[names.ADDRESS.name] = host
            if port is not None:
                values[names.PORT.name] = port
            if attempt.status is not None:
                values[names.STATUS.name] = attempt.status
        optional = {
            names.PARTS.name: len(attempt.parts),
            names.PART_DOCUMENTS.name: attempt.documents,
            names.MEMBER.name: shorten(attempt.member),
            names.KEY.name: attempt.key,
            names.ERROR_TYPE.name: attempt.error_type,
        }
        values.update({name: value for name, value in optional.items() if value})
        if self._langfuse is not None:
            values |= langfuse.ATTEMPT
        return values

    def _add_call(self, values: AttributeValues, convention: Convention, exchange: Exchange) -> None:
        """What was asked for and what served it, in the words of one convention."""
        request, ranking = exchange.request, exchange.ranking
        assert request is not None  # noqa: S101  # there is no such span without one
        values |= convention.fixed
        values[convention.model] = shorten(request.model)
        values[convention.documents] = len(request.documents)
        if request.top_n is not None:
            values[convention.top_n] = request.top_n
        if ranking is not None:
            if peer := self.peers.get(ranking.provider):
                values[convention.provider] = peer.adapter
            _add_ranking(values, convention, ranking, exchange.cost)


def _add_ranking(values: AttributeValues, convention: Convention, ranking: Ranking, cost: float | None) -> None:
    usage = ranking.usage or Usage()
    named = (
        (convention.response_model, shorten(ranking.model)),
        (convention.response_id, shorten(ranking.id) if ranking.id else None),
        (convention.input_tokens, usage.input_tokens),
        (convention.search_units, usage.search_units),
        (convention.cost, cost),
    )
    for name, value in named:
        if name is not None and value is not None:
            values[name] = value


def _add_outcome(values: AttributeValues, ranking: Ranking, exchange: Exchange) -> None:
    """What no convention has a word for."""
    values[names.SERVED_BY.name] = ranking.provider
    if exchange.cost is not None:
        values[names.COST.name] = exchange.cost
    if exchange.degraded:
        values[names.DEGRADED.name] = True
    if ranking.details and (truncated := ranking.details.get("truncated_documents")):
        values[names.TRUNCATED.name] = truncated


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
