"""Voyage's rerank API.

Source: https://docs.voyageai.com/reference/reranker-api (2026-11)

The limit is `top_k`, rows are under `data`, documents are strings in both directions, every error is `{"detail"}` and
nearly every one a 400.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from gateway.api.dialect import DecodedRequest, Dialect, ErrorReply, IncomingRequest
from gateway.api.dialects.wording import ErrorMessages, build_decoder, validate
from gateway.api.error_status import status_of
from gateway.errors import UnknownModel
from providers.errors import RerankError
from providers.types import Ranking, TextOrParts, Usage
from providers.wire.fields import without_nulls


class Row(Struct, omit_defaults=True):
    """A result as Voyage's clients read it: the document is its text."""

    relevance_score: float
    index: int
    document: str | None = None


WORDING = ErrorMessages(
    json="The request body is not valid JSON: {}",
    types="The request body is not valid: {}",
    model="Argument 'model' is required and must not be empty.",
    query="Argument 'query' is required and must not be empty.",
    documents="Argument 'documents' is required and must not be an empty list.",
    document="Argument 'documents' must not hold empty strings; the one at index {} is.",
    limit="Argument 'top_k' must be at least 1.",
)

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


class ErrorBody(Struct):
    detail: str


def dialect() -> Dialect:
    """Below `/voyage`."""
    read = build_decoder(Body, WORDING)

    def decode(incoming: IncomingRequest) -> DecodedRequest:
        body = read(incoming.body)
        request = validate(
            incoming,
            WORDING,
            model=body.model,
            query=body.query,
            documents=list[TextOrParts](body.documents) if body.documents is not None else None,
            limit=body.top_k,
            limit_field="top_k",
            return_documents=bool(body.return_documents),
            extra=without_nulls(truncation=body.truncation),
        )
        return DecodedRequest(request, [])

    return Dialect(
        name="voyage",
        paths=["/voyage/v1/rerank"],
        decode=decode,
        encode=encode,
        encode_error=encode_error,
        shapes=(Body, Answer, ErrorBody),
        status=status,
    )


def encode(asked: DecodedRequest, ranking: Ranking, latency: int) -> bytes:
    """The body of a 200."""
    return _encode(Answer("list", rows(asked, ranking), ranking.model, Tokens(total_tokens(ranking.usage))))


def rows(asked: DecodedRequest, ranking: Ranking) -> list[Row]:
    """The results as Voyage's clients read them: a document is its text."""
    ranked = asked.request.documents if asked.request.return_documents else None
    return [
        Row(row.relevance_score, row.index, _text(ranked[row.index]) if ranked else None) for row in ranking.results
    ]


def total_tokens(usage: Usage | None) -> int:
    """Voyage's clients demand the number: 0 stands for a target that does not count."""
    return (usage.total_tokens or usage.prompt_tokens or 0) if usage else 0


def encode_error(refusal: ErrorReply) -> bytes:
    """The body of any other answer."""
    return _encode(ErrorBody(refusal.message))


def status(error: RerankError) -> int:
    """An unknown model is a 400 here."""
    return 400 if isinstance(error, UnknownModel) else status_of(error)


def _text(document: TextOrParts) -> str | None:
    return document if isinstance(document, str) else None
