"""The rerank API of text-embeddings-inference: a bare list of scores, best first, and no model in the request.

Source: https://github.com/huggingface/text-embeddings-inference, version 1.9.3 (2026-11)

The model is in the path (`/tei/<model>/rerank`), in the body for the few clients that send one, or the configured
default. A fault of the body's form, which the server answers in plain text, is the same JSON here as all others.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Struct

from gateway.api.dialect import DecodedRequest, DefaultModel, Dialect, ErrorReply, IncomingRequest
from gateway.api.dialects.wording import ErrorMessages, Invalid, build_decoder, validate
from gateway.api.error_status import status_of
from providers.errors import RerankError
from providers.types import Ranking, TextOrParts
from providers.wire.fields import without_nulls

WORDING = ErrorMessages(
    json="Failed to parse the request body as JSON: {}",
    types="Failed to deserialize the JSON body into the target type: {}",
    model="no model: put one into the path (/tei/<model>/rerank), or configure default_model",
    query="`query` cannot be empty",
    documents="`texts` cannot be empty",
    document="`texts` cannot hold empty texts; the one at index {} is",
    limit="`top_n` must be at least 1",
)

TYPES = {413: "Validation", 422: "Validation", 429: "Overloaded", 503: "Unhealthy"}
"""`error_type` by status. 5xx are the backend's; any other 4xx is about the request."""

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


class ErrorBody(Struct):
    error: str
    error_type: str


def dialect(default_model: DefaultModel) -> Dialect:
    """Below `/tei`, with or without a model in the path."""
    decode = decoder(default_model, model_in)
    shapes = (Body, list[Row], ErrorBody)
    return Dialect(
        name="tei",
        paths=["/tei/rerank"],
        decode=decode,
        encode=encode,
        encode_error=encode_error,
        shapes=shapes,
        status=status,
    )


def decoder(
    default_model: DefaultModel, model_in: Callable[[str], str | None] = lambda path: None
) -> Callable[[IncomingRequest], DecodedRequest]:
    """What reads a body with `texts`, on the mount and in the unified dialect.

    Args:
        default_model: serves requests that name no model.
        model_in: the model that a path names, if any.
    """
    read = build_decoder(Body, WORDING)

    def decode(incoming: IncomingRequest) -> DecodedRequest:
        body = read(incoming.body)
        for field in ("query", "texts"):
            if getattr(body, field) is None:
                raise Invalid(WORDING.types.format(f"missing field `{field}`"), field, "missing")
        request = validate(
            incoming,
            WORDING,
            model=model_in(incoming.path) or body.model or default_model(),
            query=body.query,
            documents=list[TextOrParts](body.texts) if body.texts is not None else None,
            documents_field="texts",
            return_documents=bool(body.return_text),
            extra=without_nulls(truncation=body.truncate, use_activation=False if body.raw_scores else None),
        )
        return DecodedRequest(request, [])

    return decode


def model_in(path: str) -> str | None:
    """The model in a path below the mount: all but the last part; None without one."""
    return path.strip("/").rpartition("/")[0] or None


def encode(asked: DecodedRequest, ranking: Ranking, latency: int) -> bytes:
    """The body of a 200."""
    ranked = asked.request.documents if asked.request.return_documents else None
    rows = [
        Row(row.index, row.relevance_score, _text(ranked[row.index]) if ranked else None) for row in ranking.results
    ]
    return _encode(rows)


def encode_error(refusal: ErrorReply) -> bytes:
    """The body of any other answer."""
    kind = TYPES.get(refusal.status) or ("Backend" if refusal.status >= 500 else "Validation")
    if isinstance(refusal.error, Invalid) and refusal.error.field == "texts" and refusal.error.kind == "value":
        kind = "Empty"
    return _encode(ErrorBody(refusal.message, kind))


def status(error: RerankError) -> int:
    """422 for a field that is missing or of the wrong type, else the gateway's own."""
    return 422 if isinstance(error, Invalid) and error.kind in ("missing", "type") else status_of(error)


def _text(document: TextOrParts) -> str | None:
    return document if isinstance(document, str) else None
