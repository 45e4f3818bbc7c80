"""Infinity's rerank API.

Source: https://github.com/michaelfeil/infinity, version 0.0.77 (2026-11)

A returned document is a bare string. If the caller did not ask for documents, the field is absent, although the server
itself writes null: some clients fail on a null, and none needs it. What is wrong with a request, its size or a target's
refusal too, is FastAPI's 422, the only error that the official client reads.
"""

from __future__ import annotations

from time import time

import msgspec
from msgspec import Struct

from gateway.api.dialect import DecodedRequest, DefaultModel, Dialect, ErrorReply, IncomingRequest, TracedBody
from gateway.api.dialects.validation import ErrorMessages, InvalidBody, build_decoder, validate
from gateway.api.dialects.vllm import Tokens, tokens
from gateway.api.error_status import status_of
from providers.errors import RerankError
from providers.types import Ranking, TextOrParts
from providers.wire.fields import without_nulls

MESSAGES = ErrorMessages(
    json="JSON decode error: {}",
    types="{}",
    model="Field required",
    query="Field required",
    documents="List should have at least 1 item after validation, not 0",
    document="String at index {} should not be blank",
    limit="Input should be greater than 0",
)
UNNAMED = "default/not-specified"
"""Infinity's default for `model`, which its clients send when the user gives none."""

UNUSABLE = frozenset({413, 415, 498})
"""The gateway's own statuses that are a 422 here."""

_ERROR_TYPES = {"missing": "missing", "type": "type_error", "value": "value_error", "json": "json_invalid"}

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


class FieldErrors(TracedBody):
    detail: list[FieldError]


class ErrorDetail(Struct):
    message: str
    type: str | None
    param: str | None
    code: int


class ErrorBody(TracedBody):
    error: ErrorDetail


class Unauthorized(TracedBody):
    detail: str


def dialect(default_model: DefaultModel) -> Dialect[None]:
    """The dialect at `/infinity`; the path with `/v1` serves clients whose base URL ends in it."""
    read = build_decoder(Body, MESSAGES)

    def decode(incoming: IncomingRequest) -> DecodedRequest[None]:
        body = read(incoming)
        model = body.model if body.model != UNNAMED else None
        request = validate(
            incoming,
            MESSAGES,
            model=model or default_model(),
            query=body.query,
            documents=list[TextOrParts](body.documents) if body.documents is not None else None,
            limit=body.top_n,
            return_documents=bool(body.return_documents),
            extra=without_nulls(use_activation=False) if body.raw_scores else {},
        )
        return DecodedRequest(request, None)

    return Dialect(
        name="infinity",
        paths=["/infinity/rerank", "/infinity/v1/rerank"],
        decode=decode,
        encode=encode,
        encode_error=encode_error,
        request_type=Body,
        answer_type=Answer,
        error_types=(ErrorBody, FieldErrors, Unauthorized),
        status=status,
    )


def encode(decoded: DecodedRequest[None], ranking: Ranking, latency: int) -> bytes:
    """The body of a 200. `usage` is required: 0 if the target does not report tokens."""
    ranked = decoded.request.documents if decoded.request.return_documents else None
    results = [
        Result(row.relevance_score, row.index, _text(ranked[row.index]) if ranked else None) for row in ranking.results
    ]
    call = decoded.request.call
    return _encode(
        Answer("rerank", results, ranking.shown_model, tokens(ranking.usage), f"infinity-{call.id}", int(time()))
    )


def encode_error(reply: ErrorReply) -> bytes:
    """The body of any other answer."""
    error = reply.error
    if reply.status == 422:
        return _encode(FieldErrors([_field_error(reply)], trace_id=reply.trace_id))
    if reply.status == 401:
        return _encode(Unauthorized("Unauthorized", trace_id=reply.trace_id))
    is_unknown = error is not None and status_of(error) == 404
    message = f"Invalid model: {reply.message}" if is_unknown else reply.message
    return _encode(ErrorBody(ErrorDetail(message, None, None, reply.status), trace_id=reply.trace_id))


def status(error: RerankError) -> int:
    """422 for a wrong field and for too much, 400 for an unknown model, else the gateway's own status."""
    own = status_of(error)
    if isinstance(error, InvalidBody) or own in UNUSABLE:
        return 422
    return 400 if own == 404 else own


def _field_error(reply: ErrorReply) -> FieldError:
    """What is wrong, and where in the body; a target's refusal names no place."""
    error = reply.error
    if not isinstance(error, InvalidBody):
        return FieldError("value_error", ["body"], reply.message)
    place: list[str | int] = [int(part) if part.isdigit() else part for part in error.field.split(".") if part]
    return FieldError(_ERROR_TYPES[error.fault], ["body", *place], error.message)


def _text(document: TextOrParts) -> str | None:
    return document if isinstance(document, str) else None
