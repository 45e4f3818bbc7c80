"""Infinity's rerank API.

Source: https://github.com/michaelfeil/infinity, version 0.0.77 (2026-11)

A returned document is a bare string. It is left out when not asked for, where the server itself writes null: clients
take either, and some neither read nor survive a null. A wrong field is FastAPI's 422, the only error that the official
client reads.
"""

from __future__ import annotations

from time import time

import msgspec
from msgspec import Struct

from gateway.api.dialect import DecodedRequest, DefaultModel, Dialect, ErrorReply, IncomingRequest
from gateway.api.dialects.vllm import Tokens, tokens
from gateway.api.dialects.wording import ErrorMessages, Invalid, build_decoder, validate
from gateway.api.error_status import status_of
from gateway.errors import UnknownModel
from providers.errors import RerankError
from providers.types import Ranking, TextOrParts
from providers.wire.fields import without_nulls

WORDING = ErrorMessages(
    json="JSON decode error: {}",
    types="{}",
    model="Field required",
    query="Field required",
    documents="List should have at least 1 item after validation, not 0",
    document="String at index {} should not be blank",
    limit="Input should be greater than 0",
)
UNNAMED = "default/not-specified"
"""What Infinity takes for the model when a request names none."""

_KINDS = {"missing": "missing", "type": "type_error", "value": "value_error", "json": "json_invalid"}

_encode = msgspec.json.Encoder().encode


class Body(Struct, kw_only=True):
    query: str | None = None
    documents: list[str] | None = None
    model: str | None = None
    top_n: int | None = None
    return_documents: bool | None = None
    raw_scores: bool | None = None


class Result(Struct, omit_defaults=True):
    relevance_score: float
    index: int
    document: str | None = None


class Answer(Struct):
    object: str
    results: list[Result]
    model: str
    usage: Tokens
    id: str
    created: int


class FieldError(Struct):
    type: str
    loc: list[str | int]
    msg: str


class FieldErrors(Struct):
    detail: list[FieldError]


class ErrorDetail(Struct):
    message: str
    type: str | None
    param: str | None
    code: int


class ErrorBody(Struct):
    error: ErrorDetail


class Unauthorized(Struct):
    detail: str


def dialect(default_model: DefaultModel) -> Dialect:
    """Below `/infinity`, with and without the version that many put into the server's prefix."""
    read = build_decoder(Body, WORDING)

    def decode(incoming: IncomingRequest) -> DecodedRequest:
        body = read(incoming.body)
        named = body.model if body.model != UNNAMED else None
        request = validate(
            incoming,
            WORDING,
            model=named or default_model(),
            query=body.query,
            documents=list[TextOrParts](body.documents) if body.documents is not None else None,
            limit=body.top_n,
            return_documents=bool(body.return_documents),
            extra=without_nulls(use_activation=False) if body.raw_scores else {},
        )
        return DecodedRequest(request, [])

    return Dialect(
        name="infinity",
        paths=["/infinity/rerank", "/infinity/v1/rerank"],
        decode=decode,
        encode=encode,
        encode_error=encode_error,
        shapes=(Body, Answer, ErrorBody, FieldErrors, Unauthorized),
        status=status,
    )


def encode(asked: DecodedRequest, ranking: Ranking, latency: int) -> bytes:
    """The body of a 200. The counts are demanded: 0 stands for a target that does not count."""
    ranked = asked.request.documents if asked.request.return_documents else None
    results = [
        Result(row.relevance_score, row.index, _text(ranked[row.index]) if ranked else None) for row in ranking.results
    ]
    call = asked.request.call
    return _encode(Answer("rerank", results, ranking.model, tokens(ranking.usage), f"infinity-{call.id}", int(time())))


def encode_error(refusal: ErrorReply) -> bytes:
    """The body of any other answer."""
    error = refusal.error
    if isinstance(error, Invalid):
        place: list[str | int] = [int(part) if part.isdigit() else part for part in error.field.split(".") if part]
        return _encode(FieldErrors([FieldError(_KINDS[error.kind], ["body", *place], error.message)]))
    if refusal.status == 401:
        return _encode(Unauthorized("Unauthorized"))
    message = f"Invalid model: {refusal.message}" if isinstance(error, UnknownModel) else refusal.message
    return _encode(ErrorBody(ErrorDetail(message, None, None, refusal.status)))


def status(error: RerankError) -> int:
    """422 for a wrong field, 400 for an unknown model, else the gateway's own."""
    if isinstance(error, Invalid):
        return 422
    return 400 if isinstance(error, UnknownModel) else status_of(error)


def _text(document: TextOrParts) -> str | None:
    return document if isinstance(document, str) else None
