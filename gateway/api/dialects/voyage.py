"""Voyage's rerank API.

Source: https://docs.voyageai.com/reference/reranker-api (2026-11)

The limit is `top_k`, results are under `data`, documents are strings in both directions. Every error body is
`{"detail"}`, and nearly every status 400.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from gateway.api.dialect import DecodedRequest, Dialect, ErrorReply, IncomingRequest, TracedBody
from gateway.api.dialects.validation import ErrorMessages, build_decoder, validate
from gateway.api.error_status import status_of
from providers.errors import RerankError
from providers.types import Ranking, RerankRequest, TextOrParts, Usage
from providers.wire.fields import without_nulls


class Row(Struct, omit_defaults=True):
    """A result as Voyage's clients read it: its document is a string."""

    relevance_score: float
    index: int
    document: str | None = None


MESSAGES = ErrorMessages(
    json="The request body is not valid JSON: {}",
    types="The request body is not valid: {}",
    model="Argument 'model' is required and must not be empty.",
    query="Argument 'query' is required and must not be empty.",
    documents="Argument 'documents' is required and must not be an empty list.",
    document="Argument 'documents' must not hold empty strings; the one at index {} is.",
    limit="Argument 'top_k' must be at least 1.",
)

INVALID = frozenset({404, 413, 415, 498})
"""The gateway's own statuses that are 400 here: Voyage's client raises InvalidRequestError for no other, and these say
that the request has to be changed."""

_encode = msgspec.json.Encoder().encode


class Body(Struct, kw_only=True):
    query: str | None = None
    documents: list[str] | None = None
    model: str | None = None
    top_k: int | None = None
    return_documents: bool | None = None
    truncation: bool | None = None


class Tokens(Struct):
    total_tokens: int


class Answer(Struct):
    object: str
    data: list[Row]
    model: str
    usage: Tokens


class ErrorBody(TracedBody):
    detail: str


def dialect() -> Dialect[None]:
    """The dialect at `/voyage`."""
    read = build_decoder(Body, MESSAGES)

    def decode(incoming: IncomingRequest) -> DecodedRequest[None]:
        body = read(incoming)
        request = validate(
            incoming,
            MESSAGES,
            model=body.model,
            query=body.query,
            documents=list[TextOrParts](body.documents) if body.documents is not None else None,
            limit=body.top_k,
            limit_field="top_k",
            return_documents=bool(body.return_documents),
            extra=without_nulls(truncation=body.truncation),
        )
        return DecodedRequest(request, None)

    return Dialect(
        name="voyage",
        paths=["/voyage/v1/rerank"],
        decode=decode,
        encode=encode,
        encode_error=encode_error,
        request_type=Body,
        answer_type=Answer,
        error_types=(ErrorBody,),
        status=status,
    )


def encode(decoded: DecodedRequest[None], ranking: Ranking, latency: int) -> bytes:
    """The body of a 200."""
    return _encode(
        Answer("list", rows(decoded.request, ranking), ranking.shown_model, Tokens(total_tokens(ranking.usage)))
    )


def rows(request: RerankRequest, ranking: Ranking) -> list[Row]:
    """The results as Voyage's clients read them, with documents if the request asks for them."""
    documents = request.documents if request.return_documents else None
    return [
        Row(row.relevance_score, row.index, _text(documents[row.index]) if documents else None)
        for row in ranking.results
    ]


def total_tokens(usage: Usage | None) -> int:
    """The number that Voyage's clients require: 0 if the target does not report it."""
    return (usage.total_tokens or usage.prompt_tokens or 0) if usage else 0


def encode_error(reply: ErrorReply) -> bytes:
    """The body of any other answer."""
    return _encode(ErrorBody(reply.message, trace_id=reply.trace_id))


def status(error: RerankError) -> int:
    """400 for what is wrong with the request, an unknown model or too many documents too, else the gateway's status."""
    own = status_of(error)
    return 400 if own in INVALID else own


def _text(document: TextOrParts) -> str | None:
    return document if isinstance(document, str) else None
