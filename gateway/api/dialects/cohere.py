"""Cohere's rerank API, v1 and v2.

Source: https://docs.cohere.com/v1/reference/rerank and https://docs.cohere.com/reference/rerank (2026-11)

v1 takes documents as strings or as objects with `text` (`rank_fields` names other keys to rank by), and returns them
if asked to. v2 takes strings and returns none. `meta.billed_units` holds what the target charged: search units if it
reports those, else input tokens, else nothing. A request that is too large is a 400, as any other that is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from gateway.api.dialect import DecodedRequest, Dialect, ErrorReply, IncomingRequest, TracedBody
from gateway.api.dialects.relevant_spans import RelevantSpans, note_unread, span_wishes, wants_spans
from gateway.api.dialects.validation import ErrorMessages, InvalidBody, build_decoder, validate
from gateway.api.error_status import status_of
from gateway.errors import UnknownModel
from providers.errors import RerankError
from providers.types import Ranking, Span, TextOrParts, Usage
from providers.wire.fields import without_nulls


class ApiVersion(Struct):
    """The version of Cohere's API: "1" or "2"."""

    version: str


class Counts(Struct, omit_defaults=True):
    """What was used or charged, by Cohere's names."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    search_units: float | None = None


class Meta(Struct, omit_defaults=True):
    """The API's version, and what the call used and cost."""

    api_version: ApiVersion
    billed_units: Counts | None = None
    tokens: Counts | None = None


MESSAGES = ErrorMessages(
    json="invalid json syntax: {}",
    types="invalid request: {}",
    model="a model parameter is required for this endpoint.",
    query="invalid request: query must not be empty or be only whitespace",
    documents="invalid request: list of documents must not be empty",
    document="invalid request: document at index {} cannot be empty",
    limit="invalid request: top_n must be at least 1",
)
MAX_CHUNKS = 10_000
"""Documents of one request, each times `max_chunks_per_doc`; Cohere's own limit."""

_encode = msgspec.json.Encoder().encode


class BodyV1(Struct, kw_only=True):
    model: str | None = None
    query: str | None = None
    documents: list[str | dict[str, Any]] | None = None
    top_n: int | None = None
    rank_fields: list[str] | None = None
    return_documents: bool | None = None
    max_chunks_per_doc: int | None = None


class BodyV2(Struct, kw_only=True):
    model: str | None = None
    query: str | None = None
    documents: list[str] | None = None
    top_n: int | None = None
    max_tokens_per_doc: int | None = None
    priority: int | None = None
    relevant_spans: RelevantSpans | None = None


class Result(Struct, omit_defaults=True):
    index: int
    relevance_score: float
    document: dict[str, Any] | None = None
    relevant_spans: Sequence[Span] | None = None


class Answer(Struct):
    id: str
    results: list[Result]
    meta: Meta


class ErrorBody(TracedBody):
    message: str
    id: str


class Form(Struct):
    """What the answer repeats of the request: the version, and the caller's own documents."""

    version: str
    documents: list[str | dict[str, Any]] = []


def v1() -> Dialect[Form]:
    """The dialect at `/cohere/v1`."""
    read = build_decoder(BodyV1, MESSAGES)

    def decode(incoming: IncomingRequest) -> DecodedRequest[Form]:
        body = read(incoming)
        fields = _rank_fields(body)
        request = validate(
            incoming,
            MESSAGES,
            model=body.model,
            query=body.query,
            documents=_texts(body.documents, fields),
            limit=body.top_n,
            return_documents=bool(body.return_documents),
            extra=without_nulls(max_chunks_per_doc=body.max_chunks_per_doc),
        )
        _check_size(len(request.documents), body.max_chunks_per_doc or 1)
        return DecodedRequest(request, Form("1", body.documents or []))

    return Dialect(
        name="cohere-v1",
        paths=["/cohere/v1/rerank"],
        decode=decode,
        encode=encode,
        encode_error=encode_error,
        request_type=BodyV1,
        answer_type=Answer,
        error_types=(ErrorBody,),
        status=status,
    )


def v2() -> Dialect[Form]:
    """The dialect at `/cohere/v2`."""
    read = build_decoder(BodyV2, MESSAGES)

    def decode(incoming: IncomingRequest) -> DecodedRequest[Form]:
        body = read(incoming)
        note_unread(body.relevant_spans, incoming)
        request = validate(
            incoming,
            MESSAGES,
            model=body.model,
            query=body.query,
            documents=list[TextOrParts](body.documents) if body.documents is not None else None,
            limit=body.top_n,
            max_tokens_per_doc=body.max_tokens_per_doc,
            priority=body.priority,
            return_spans=wants_spans(body.relevant_spans),
            extra=span_wishes(body.relevant_spans) if wants_spans(body.relevant_spans) else {},
        )
        _check_size(len(request.documents), 1)
        return DecodedRequest(request, Form("2"))

    return Dialect(
        name="cohere-v2",
        paths=["/cohere/v2/rerank"],
        decode=decode,
        encode=encode,
        encode_error=encode_error,
        request_type=BodyV2,
        answer_type=Answer,
        error_types=(ErrorBody,),
        status=status,
    )


def encode(decoded: DecodedRequest[Form], ranking: Ranking, latency: int) -> bytes:
    """The body of a 200."""
    echo = decoded.form.documents if decoded.request.return_documents else None
    spans = ranking.spans or {}
    results = [
        Result(row.index, row.relevance_score, _to_document(echo[row.index]) if echo else None, spans.get(row.index))
        for row in ranking.results
    ]
    return _encode(Answer(decoded.request.call.id, results, meta(ranking.usage, decoded.form.version)))


def meta(usage: Usage | None, version: str) -> Meta:
    """What the target reported of the call's tokens and costs; nothing is made up."""
    reported = usage or Usage()
    input_tokens = reported.prompt_tokens if reported.prompt_tokens is not None else reported.total_tokens
    billed_tokens = reported.billed_tokens
    if billed_tokens is None and reported.search_units is None:
        billed_tokens = input_tokens
    billed = Counts(input_tokens=billed_tokens, search_units=reported.search_units)
    tokens = None
    if input_tokens is not None:
        tokens = Counts(input_tokens=input_tokens, output_tokens=reported.completion_tokens or 0)
    return Meta(ApiVersion(version), billed, tokens)


def encode_error(reply: ErrorReply) -> bytes:
    """The body of any other answer."""
    message = reply.message
    if isinstance(reply.error, UnknownModel):
        message = (
            f"model '{reply.model}' not found, make sure the correct model ID was used and that you have access to "
            f"the model. ({message})"
        )
    return _encode(ErrorBody(message, reply.call.id, trace_id=reply.trace_id))


def status(error: RerankError) -> int:
    """400 for what is too large or cannot be read, else the gateway's own status."""
    own = status_of(error)
    return 400 if own in (413, 415) else own


def _rank_fields(body: BodyV1) -> list[str]:
    if body.rank_fields is not None and not body.rank_fields:
        raise InvalidBody("invalid request: rank_fields must be omitted or not be empty", "rank_fields")
    return body.rank_fields or ["text"]


def _texts(documents: list[str | dict[str, Any]] | None, fields: list[str]) -> list[TextOrParts] | None:
    if documents is None:
        return None
    return [
        document if isinstance(document, str) else _text(document, fields, index)
        for index, document in enumerate(documents)
    ]


def _text(document: dict[str, Any], fields: list[str], index: int) -> str:
    """The values of the fields to rank by, one per line. Raises InvalidBody if the document has none of them."""
    if not any(name in document for name in fields):
        names = " or ".join(f"`{name}`" for name in fields)
        raise InvalidBody(f"invalid request: document at index {index} must have a {names} field", f"documents.{index}")
    values = [document[name] for name in fields if document.get(name) is not None]
    return "\n".join(value if isinstance(value, str) else _encode(value).decode() for value in values)


def _to_document(document: Any) -> dict[str, Any]:
    return {"text": document} if isinstance(document, str) else document


def _check_size(documents: int, chunks: int) -> None:
    if documents * chunks > MAX_CHUNKS:
        raise InvalidBody(
            "invalid request: number of total max chunks (number of documents * max chunks per doc) must be less than "
            f"{MAX_CHUNKS}",
            "documents",
        )
