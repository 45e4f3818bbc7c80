"""Voyage's rerank API.

Source: https://docs.voyageai.com/reference/reranker-api (2026-11)

The limit is `top_k`, rows are under `data`, documents are strings in both directions, every error is `{"detail"}` and
nearly every one a 400.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from gateway.api.dialect import Asked, Dialect, Incoming, Refusal
from gateway.api.dialects.wording import Wording, checked, reader
from gateway.api.error_status import status_of
from gateway.errors import UnknownModel
from providers.errors import RerankError
from providers.types import Input, Ranking, Usage
from providers.wire.fields import present


class Row(Struct, omit_defaults=True):
    """A result as Voyage's clients read it: the document is its text."""

    relevance_score: float
    index: int
    document: str | None = None


WORDING = Wording(
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


class Refused(Struct):
    detail: str


def dialect() -> Dialect:
    """Below `/voyage`."""
    read = reader(Body, WORDING)

    def decode(incoming: Incoming) -> Asked:
        body = read(incoming.body)
        request = checked(
            incoming,
            WORDING,
            model=body.model,
            query=body.query,
            documents=list[Input](body.documents) if body.documents is not None else None,
            limit=body.top_k,
            limit_field="top_k",
            return_documents=bool(body.return_documents),
            extra=present(truncation=body.truncation),
        )
        return Asked(request, [])

    return Dialect(
        name="voyage",
        paths=["/voyage/v1/rerank"],
        decode=decode,
        encode=encode,
        refuse=refuse,
        shapes=(Body, Answer, Refused),
        status=status,
    )


def encode(asked: Asked, ranking: Ranking, latency: int) -> bytes:
    """The body of a 200."""
    return _encode(Answer("list", rows(asked, ranking), ranking.model, Tokens(total_tokens(ranking.usage))))


def rows(asked: Asked, ranking: Ranking) -> list[Row]:
    """The results as Voyage's clients read them: a document is its text."""
    ranked = asked.request.documents if asked.request.return_documents else None
    return [
        Row(row.relevance_score, row.index, _text(ranked[row.index]) if ranked else None) for row in ranking.results
    ]


def total_tokens(usage: Usage | None) -> int:
    """Voyage's clients demand the number: 0 stands for a target that does not count."""
    return (usage.total_tokens or usage.prompt_tokens or 0) if usage else 0


def refuse(refusal: Refusal) -> bytes:
    """The body of any other answer."""
    return _encode(Refused(refusal.message))


def status(error: RerankError) -> int:
    """An unknown model is a 400 here."""
    return 400 if isinstance(error, UnknownModel) else status_of(error)


def _text(document: Input) -> str | None:
    return document if isinstance(document, str) else None
