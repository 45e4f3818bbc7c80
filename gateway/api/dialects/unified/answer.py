"""The unified dialect's answer: from a ranking to the bytes that callers get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from gateway.api.dialect import WireDocument
from gateway.api.dialects.cohere import Meta
from gateway.api.dialects.unified.request import holds_record, own_fields
from gateway.api.dialects.voyage import Row
from providers.attempts import AttemptRecord
from providers.types import AnswerWarning, Call, Ranking, RerankRequest, ScoreSpace, Span, TextOrParts, Usage

_encode = msgspec.json.Encoder().encode


class EchoedDocument(Struct, omit_defaults=True):
    """The caller's document as it was ranked, with the caller's own id, data and meta.

    Attributes:
        text: what was ranked; of pictures and content parts the caller's text beside them.
        content: what was ranked, where that is no text.
    """

    id: Any = None
    text: str | None = None
    data: Any = None
    meta: Any = None
    content: list[Any] | None = None


class Result(Struct, omit_defaults=True):
    """A result, with its document and the passages that decided if the request asks for them.

    Attributes:
        id: the caller's own, of a document that is given as `data`.
    """

    index: int
    relevance_score: float
    id: Any = None
    document: EchoedDocument | None = None
    spans: Sequence[Span] | None = None
    relevant_spans: Sequence[Span] | None = None


class Part(Struct, frozen=True, omit_defaults=True):
    """One call of an attempt that was split, since it was more than one call takes.

    Attributes:
        documents: how many it had.
        status, error, latency: as in Attempt.
    """

    documents: int
    status: int | None = None
    error: str | None = None
    latency: int = -1


class Attempt(Struct, frozen=True, omit_defaults=True):
    """What one call on one target came to.

    Attributes:
        provider: the configured name of the provider; absent for a name without one.
        model: the upstream's name of the model.
        status: the HTTP status the target answered with; absent if it gave none.
        error: what went wrong; absent on success.
        latency: whole milliseconds.
        parts: the calls it was split into; absent where it was one call.
        member: for which of the models that the asked one is made of; absent where it is made of none.
    """

    provider: str = ""
    model: str = ""
    status: int | None = None
    error: str | None = None
    latency: int = -1
    parts: list[Part] | None = None
    member: str = ""


class ExtraFields(Struct, omit_defaults=True, kw_only=True):
    """Who served the request, how long it took, and what it cost.

    Attributes:
        provider: the configured name of the provider that served; absent if none did.
        latency: milliseconds from decoding the request to encoding the answer.
        resolved_model_used: the provider's own name of the model that served; absent where `model` is that name.
        attempts: every attempt, if more than one was needed or one was split.
        cost: US dollars by the price table; absent if unknown.
        ignored: fields of the request that nothing reads; absent if there are none.
        score_space: what the scores are; absent where there are none.
        warnings: what was asked for and is not in this answer; absent if that is nothing.
    """

    request_type: str = msgspec.field(default_factory=lambda: "rerank")
    provider: str | None = None
    latency: int | None = None
    chunk_index: int = msgspec.field(default_factory=int)
    original_model_requested: str | None = None
    resolved_model_used: str | None = None
    attempts: list[Attempt] | None = None
    cost: float | None = None
    ignored: Sequence[str] | None = None
    score_space: ScoreSpace | None = None
    warnings: Sequence[AnswerWarning] | None = None


class Answer(Struct, omit_defaults=True, kw_only=True):
    """The body of a 200.

    Attributes:
        data: the results again, in Voyage's form; only for Voyage's clients.
        meta: in Cohere's form; only for Cohere's clients.
    """

    id: str
    results: list[Result]
    data: list[Row] | None = None
    model: str
    usage: Usage | None = None
    meta: Meta | None = None
    extra_fields: ExtraFields


def encode(
    ranking: Ranking,
    request: RerankRequest,
    documents: list[WireDocument],
    latency: int,
    more: Mapping[str, Any] = {},
    *,
    relevant_spans: bool = False,
) -> bytes:
    """Build the answer and encode it. Arguments as in `build`."""
    return _encode(build(ranking, request, documents, latency, more, relevant_spans=relevant_spans))


def build(
    ranking: Ranking,
    request: RerankRequest,
    documents: list[WireDocument],
    latency: int,
    more: Mapping[str, Any] = {},
    *,
    relevant_spans: bool = False,
) -> Answer:
    """Build the answer.

    Args:
        ranking: verified, sorted and cut to `top_n`.
        request: the canonical request.
        documents: as the caller wrote them, to return with the results if the request asks for it.
        latency: in milliseconds.
        more: other fields of Answer; they replace those made from the ranking.
        relevant_spans: give spans under Cohere's name too.
    """
    # A Ranked encodes to the same bytes as a Result without a document, so the usual case needs no copies.
    results: Any = ranking.results
    # As they are where all are text. Those in another form may have ids.
    has_forms = documents is not request.documents
    if request.return_documents or ranking.spans or (has_forms and any(map(holds_record, documents))):
        results = _results(ranking, request, documents, relevant_spans=relevant_spans)
    return Answer(
        id=request.call.id,
        results=results,
        model=ranking.shown_model,
        **{"usage": ranking.usage, **more},
        extra_fields=_extra_fields(ranking, request, latency),
    )


def _results(
    ranking: Ranking, request: RerankRequest, documents: list[WireDocument], *, relevant_spans: bool
) -> list[Result]:
    spans = ranking.spans or {}
    results = []
    for index, score in ((result.index, result.relevance_score) for result in ranking.results):
        document = echo_document(documents[index], request.documents[index]) if request.return_documents else None
        own = spans.get(index)
        results.append(Result(index, score, _data_id(documents[index]), document, own, own if relevant_spans else None))
    return results


def echo_document(document: WireDocument, ranked: TextOrParts) -> EchoedDocument:
    """The document to return: the text or parts that were ranked, with what the caller wrote beside it."""
    own = own_fields(document)
    beside = {name: own.get(name) for name in ("id", "data", "meta")}
    if isinstance(ranked, str):
        return EchoedDocument(text=ranked, **beside)
    text = own.get("text")
    return EchoedDocument(text=text if isinstance(text, str) else None, content=ranked.content, **beside)


def _data_id(document: WireDocument) -> Any:
    return document.get("id") if isinstance(document, dict) and holds_record(document) else None


def _extra_fields(ranking: Ranking, request: RerankRequest, latency: int) -> Any:
    fields = ExtraFields(
        provider=ranking.provider,
        original_model_requested=request.model,
        resolved_model_used=ranking.model if ranking.alias and ranking.alias != ranking.model else None,
        latency=latency,
        attempts=attempts_to_show(request.call, least=2),
        cost=ranking.cost,
        ignored=request.call.ignored or None,
        score_space=ranking.score_space,
        warnings=ranking.warnings or None,
    )
    if not ranking.details:
        return fields
    shown: dict[str, Any] = msgspec.to_builtins(fields)
    return {**shown, **ranking.details}


def attempts_to_show(call: Call, least: int) -> list[Attempt] | None:
    """All attempts as callers see them, if there were at least so many, or one has parts; else None."""
    attempts = call.recorder.attempts
    if len(attempts) < least and not any(each.parts for each in attempts):
        return None
    return [
        Attempt(each.provider, each.model, each.status, each.error, each.latency, _parts(each), each.member)
        for each in attempts
    ]


def _parts(attempt: AttemptRecord) -> list[Part] | None:
    return [Part(each.documents or 0, each.status, each.error, each.latency) for each in attempt.parts] or None
