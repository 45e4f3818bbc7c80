"""Jina's rerank API.

Source: https://api.jina.ai/docs and the specification of the Jina Search Foundation API, 2026.04.02 (2026-11)

Documents are strings, or objects with `text`, `image` (a URL or base64) or both; images need a target that reads
content parts. `return_documents` is false by default, as in the service itself (its specification says true). An
unknown model is a 400 here, whoever does not know it; a wrong field is a 422 that names it, and so is a request that is
too large, without a name.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from gateway.api.dialect import DecodedRequest, Dialect, ErrorReply, IncomingRequest, TracedBody
from gateway.api.dialects.pictures import to_parts
from gateway.api.dialects.validation import ErrorMessages, InvalidBody, build_decoder, validate
from gateway.api.error_status import status_of
from gateway.errors import KeyMissing
from providers.errors import RerankError
from providers.types import Ranking, TextOrParts
from providers.wire.fields import without_nulls

MESSAGES = ErrorMessages(
    json="the body is not valid JSON: {}",
    types="{}",
    model="Field required: model",
    query="query must be a non-empty text",
    documents="documents must have at least one item",
    document="documents[{}] must not be empty",
    limit="top_n must be greater than or equal to 1",
)

CODES = {
    401: "AUTH_INVALID_API_KEY",
    402: "AUTHZ_INSUFFICIENT_BALANCE",
    403: "AUTHZ_RESOURCE_LIMIT_EXCEEDED",
    404: "RESOURCE_NOT_FOUND",
    429: "RATE_REQUEST_LIMIT_EXCEEDED",
    503: "SERVICE_UNAVAILABLE",
    504: "SERVICE_TIMEOUT",
}
"""The vendor's error code for each status; any other 4xx has none, any other 5xx is INTERNAL_ERROR."""

UNUSABLE = frozenset({413, 415, 498})
"""The gateway's own statuses that are a 422 here, as whatever else is wrong with the body."""

_ERROR_TYPES = {"missing": "missing", "type": "type_error", "value": "value_error", "json": "json_invalid"}

_encode = msgspec.json.Encoder().encode


class Document(Struct, omit_defaults=True):
    text: str | None = None
    image: str | None = None


class Body(Struct, kw_only=True):
    model: str | None = None
    query: str | Document | None = None
    documents: list[str | Document] | None = None
    top_n: int | None = None
    return_documents: bool | None = None
    truncation: bool | None = None
    max_doc_length: int | None = None


class Result(Struct, omit_defaults=True):
    index: int
    relevance_score: float
    document: Document | None = None


class Tokens(Struct, omit_defaults=True):
    total_tokens: int
    prompt_tokens: int | None = None


class Answer(Struct):
    model: str
    object: str
    usage: Tokens
    results: list[Result]


class FieldError(Struct):
    field: str
    message: str
    type: str


class ErrorBody(TracedBody, omit_defaults=True):
    detail: str
    code: str | None = None
    request_id: str | None = None
    errors: list[FieldError] | None = None


Form = list[str | Document]
"""The caller's own documents, to return with the results."""


def dialect() -> Dialect[Form]:
    """The dialect at `/jina`."""
    read = build_decoder(Body, MESSAGES)

    def decode(incoming: IncomingRequest) -> DecodedRequest[Form]:
        body = read(incoming)
        documents = None
        if body.documents is not None:
            documents = [_to_input(document, f"documents.{index}") for index, document in enumerate(body.documents)]
        request = validate(
            incoming,
            MESSAGES,
            model=body.model,
            query=None if body.query is None else _to_input(body.query, "query"),
            documents=documents,
            limit=body.top_n,
            return_documents=bool(body.return_documents),
            max_tokens_per_doc=body.max_doc_length,
            tokens_field="max_doc_length",
            extra=without_nulls(truncation=body.truncation, max_doc_length=body.max_doc_length),
        )
        return DecodedRequest(request, body.documents or [])

    return Dialect(
        name="jina",
        paths=["/jina/v1/rerank"],
        decode=decode,
        encode=encode,
        encode_error=encode_error,
        request_type=Body,
        answer_type=Answer,
        error_types=(ErrorBody,),
        status=status,
    )


def encode(decoded: DecodedRequest[Form], ranking: Ranking, latency: int) -> bytes:
    """The body of a 200. `usage` is required: 0 if the target does not report tokens."""
    echo = decoded.form if decoded.request.return_documents else None
    usage = ranking.usage
    tokens = usage.total_tokens or usage.prompt_tokens or 0 if usage else 0
    results = [
        Result(row.index, row.relevance_score, _to_document(echo[row.index]) if echo else None)
        for row in ranking.results
    ]
    return _encode(Answer(ranking.shown_model, "list", Tokens(tokens), results))


def encode_error(reply: ErrorReply) -> bytes:
    """The body of any other answer."""
    error = reply.error
    if isinstance(error, InvalidBody):
        field_error = FieldError(error.field, error.message, _ERROR_TYPES[error.fault])
        return _encode(
            ErrorBody(error.message, request_id=reply.call.id, errors=[field_error], trace_id=reply.trace_id)
        )
    return _encode(ErrorBody(reply.message, _code(reply), reply.call.id, trace_id=reply.trace_id))


def status(error: RerankError) -> int:
    """422 for a wrong field and for too much, 400 for an unknown model, else the gateway's own status."""
    if isinstance(error, InvalidBody):
        return 400 if error.fault == "json" else 422
    own = status_of(error)
    return 400 if own == 404 else 422 if own in UNUSABLE else own


def _code(reply: ErrorReply) -> str | None:
    if isinstance(reply.error, KeyMissing):
        return "AUTH_MISSING_API_KEY"
    if reply.error is not None and status_of(reply.error) == 404:
        return "INPUT_MODEL_NOT_FOUND"
    return CODES.get(reply.status) or ("INTERNAL_ERROR" if reply.status >= 500 else None)


def _to_input(document: str | Document, field: str) -> TextOrParts:
    """Raises InvalidBody if its image is no picture."""
    if isinstance(document, str):
        return document
    if not document.image:
        return document.text or ""
    try:
        return to_parts(document.text, {"image": document.image})
    except ValueError as error:
        raise InvalidBody(f"{field}.image: {error}", f"{field}.image") from None


def _to_document(document: str | Document) -> Document:
    return Document(text=document) if isinstance(document, str) else document
