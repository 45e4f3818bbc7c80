"""The rerank API of text-embeddings-inference: the answer is a bare list of scores, and the request names no model.

Source: https://github.com/huggingface/text-embeddings-inference, version 1.9.3 (2026-11)

The model comes from the path (`/tei/<model>/rerank`), from the body for the few clients that send one, or it is the
configured default. For a malformed body the server itself answers in plain text; we answer in JSON as for other errors.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Struct

from gateway.api.dialect import DecodedRequest, DefaultModel, Dialect, ErrorReply, IncomingRequest, TracedBody
from gateway.api.dialects.validation import ErrorMessages, InvalidBody, build_decoder, validate
from gateway.api.error_status import status_of
from providers.errors import RerankError
from providers.types import Ranking, RerankRequest, TextOrParts
from providers.wire.fields import without_nulls

MESSAGES = ErrorMessages(
    json="Failed to parse the request body as JSON: {}",
    types="Failed to deserialize the JSON body into the target type: {}",
    model="no model: put one into the path (/tei/<model>/rerank), or configure default_model",
    query="`query` cannot be empty",
    documents="`texts` cannot be empty",
    document="`texts` cannot hold empty texts; the one at index {} is",
    limit="`top_n` must be at least 1",
)

TYPES = {413: "Validation", 422: "Validation", 429: "Overloaded", 503: "Unhealthy"}
"""`error_type` by status; any other 5xx is `Backend`, any other 4xx `Validation`."""

_encode = msgspec.json.Encoder().encode


class Body(Struct, kw_only=True):
    query: str | None = None
    texts: list[str] | None = None
    model: str | None = None
    truncate: bool | None = None
    raw_scores: bool | None = None
    return_text: bool | None = None


class Row(Struct, omit_defaults=True):
    index: int
    score: float
    text: str | None = None


class ErrorBody(TracedBody):
    error: str
    error_type: str


def dialect(default_model: DefaultModel) -> Dialect[None]:
    """The dialect at `/tei`, with or without a model in the path."""
    read = request_decoder(default_model, model_in)

    def decode(incoming: IncomingRequest) -> DecodedRequest[None]:
        return DecodedRequest(read(incoming), None)

    return Dialect(
        name="tei",
        paths=["/tei/rerank"],
        decode=decode,
        encode=encode,
        encode_error=encode_error,
        request_type=Body,
        answer_type=list[Row],
        error_types=(ErrorBody,),
        status=status,
    )


def request_decoder(
    default_model: DefaultModel, model_in: Callable[[str], str | None] = lambda path: None
) -> Callable[[IncomingRequest], RerankRequest]:
    """Make a decoder of bodies with `texts`, for this dialect and the unified one.

    Args:
        default_model: for requests that name no model.
        model_in: the model that a path names, if any.

    Raises (when called): InvalidBody.
    """
    read = build_decoder(Body, MESSAGES)

    def decode(incoming: IncomingRequest) -> RerankRequest:
        body = read(incoming)
        for field in ("query", "texts"):
            if getattr(body, field) is None:
                raise InvalidBody(MESSAGES.types.format(f"missing field `{field}`"), field, "missing")
        return validate(
            incoming,
            MESSAGES,
            model=model_in(incoming.path) or body.model or default_model(),
            query=body.query,
            documents=list[TextOrParts](body.texts) if body.texts is not None else None,
            documents_field="texts",
            return_documents=bool(body.return_text),
            extra=without_nulls(truncation=body.truncate, use_activation=False if body.raw_scores else None),
        )

    return decode


def model_in(path: str) -> str | None:
    """The model in a path, relative to `/tei`: all but the last part; None if there is nothing else."""
    return path.strip("/").rpartition("/")[0] or None


def encode(decoded: DecodedRequest[None], ranking: Ranking, latency: int) -> bytes:
    """The body of a 200."""
    return encode_rows(decoded.request, ranking)


def encode_rows(request: RerankRequest, ranking: Ranking) -> bytes:
    """The bare list, best first, with texts if the request asks for them."""
    documents = request.documents if request.return_documents else None
    rows = [
        Row(row.index, row.relevance_score, _text(documents[row.index]) if documents else None)
        for row in ranking.results
    ]
    return _encode(rows)


def encode_error(reply: ErrorReply) -> bytes:
    """The body of any other answer."""
    kind = TYPES.get(reply.status) or ("Backend" if reply.status >= 500 else "Validation")
    if isinstance(reply.error, InvalidBody) and reply.error.field == "texts" and reply.error.fault == "value":
        kind = "Empty"
    return _encode(ErrorBody(reply.message, kind, trace_id=reply.trace_id))


def status(error: RerankError) -> int:
    """422 for a field that is missing or has the wrong type, else the gateway's own status."""
    return 422 if isinstance(error, InvalidBody) and error.fault in ("missing", "type") else status_of(error)


def _text(document: TextOrParts) -> str | None:
    return document if isinstance(document, str) else None
