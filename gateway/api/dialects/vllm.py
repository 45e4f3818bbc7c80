"""vLLM's rerank and score APIs.

Source: https://docs.vllm.ai/en/latest/models/pooling_models/scoring/ and the source of vLLM 0.33.0 (2026-11)

An answer's id is made of `X-Request-Id`, else of the body's `request_id`. Documents always come back, with nulls.
`top_n` 0 is all. Queries and documents may be content parts; targets that read text only refuse those with a 400.
Rankings are `rerank-…`, as the documentation shows them, although 0.33 itself has come to write `score-…` for both.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway.api.dialect import DecodedRequest, DefaultModel, Dialect, ErrorReply, IncomingRequest
from gateway.api.dialects.wording import ErrorMessages, Invalid, build_decoder, validate
from gateway.api.request_id import request_id
from gateway.errors import UnknownModel
from providers.types import ContentParts, Ranking, TextOrParts, Usage
from providers.wire.fields import without_nulls

WORDING = ErrorMessages(
    json="1 validation error(s): JSON decode error: {}",
    types="1 validation error(s): {}",
    model="The model must be named: there is no default model",
    query="At least one text element must be given",
    documents="At least one text_pair element must be given",
    document="The document at index {} must not be empty",
    limit="1 validation error(s): top_n: Input should be greater than or equal to 0",
)

TYPES = {
    400: "BadRequestError",
    401: "Unauthorized",
    402: "PaymentRequiredError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    405: "Method Not Allowed",
    413: "RequestEntityTooLarge",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    503: "ServiceUnavailableError",
}
"""`type` by status; anything else is InternalServerError."""

_encode = msgspec.json.Encoder().encode


class Content(Struct):
    """A multimodal query or document."""

    content: list[Any]


Side = str | Content | list[str | Content] | None


class Options(Struct, kw_only=True):
    """What both APIs take beside their texts, for the targets that declare it."""

    model: str | None = None
    truncate_prompt_tokens: int | None = None
    truncation_side: str | None = None
    max_tokens_per_query: int | None = None
    max_tokens_per_doc: int | None = None
    instruction: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    use_activation: bool | None = None
    priority: int | None = None
    request_id: str | None = None
    mm_processor_kwargs: dict[str, Any] | None = None
    padding: str | None = None
    cache_salt: str | None = None

    def extra(self) -> dict[str, Any]:
        """The vendor's own fields that were given."""
        return without_nulls(**{name: getattr(self, name) for name in _EXTRAS})


_EXTRAS = [
    name for name in Options.__struct_fields__ if name not in {"model", "max_tokens_per_doc", "priority", "request_id"}
]


class Body(Options, kw_only=True):
    query: str | Content | None = None
    documents: Side = None
    top_n: int | None = None


class Document(Struct):
    text: str | None
    multi_modal: list[Any] | None


class Result(Struct):
    index: int
    document: Document
    relevance_score: float


class Tokens(Struct):
    prompt_tokens: int
    total_tokens: int


class Answer(Struct):
    id: str
    model: str
    usage: Tokens
    results: list[Result]


class ErrorDetail(Struct):
    message: str
    type: str
    param: str | None
    code: int


class ErrorBody(Struct):
    error: ErrorDetail


class Unauthorized(Struct):
    error: str


def dialect(default_model: DefaultModel) -> Dialect:
    """Below `/vllm`."""
    read = build_decoder(Body, WORDING)

    def decode(incoming: IncomingRequest) -> DecodedRequest:
        body = read(incoming.body)
        adopt_request_id(incoming, body.request_id)
        request = validate(
            incoming,
            WORDING,
            model=body.model or default_model(),
            query=to_input(body.query) if body.query is not None else None,
            documents=to_inputs(body.documents),
            limit=body.top_n or None,
            max_tokens_per_doc=body.max_tokens_per_doc or None,
            priority=body.priority,
            extra=body.extra(),
        )
        return DecodedRequest(request, [])

    paths = ["/vllm/rerank", "/vllm/v1/rerank", "/vllm/v2/rerank"]
    return Dialect(
        name="vllm",
        paths=paths,
        decode=decode,
        encode=encode,
        encode_error=encode_error,
        shapes=(Body, Answer, ErrorBody, Unauthorized),
    )


def encode(asked: DecodedRequest, ranking: Ranking, latency: int) -> bytes:
    """The body of a 200."""
    documents = asked.request.documents
    results = [Result(row.index, _echoed(documents[row.index]), row.relevance_score) for row in ranking.results]
    return _encode(Answer(f"rerank-{asked.request.call.id}", ranking.model, tokens(ranking.usage), results))


def encode_error(refusal: ErrorReply) -> bytes:
    """The body of any other answer."""
    error = refusal.error
    if refusal.status == 401:
        return _encode(Unauthorized("Unauthorized"))
    if isinstance(error, UnknownModel):
        message = f"The model `{refusal.model}` does not exist. {refusal.message}"
        return _encode(ErrorBody(ErrorDetail(message, "NotFoundError", "model", 404)))
    kind = TYPES.get(refusal.status, "InternalServerError")
    param = None
    if isinstance(error, Invalid):
        param = f"body.{error.field}" if error.field else None
        kind = "Bad Request" if error.message.startswith("1 validation") else kind
    return _encode(ErrorBody(ErrorDetail(refusal.message, kind, param, refusal.status)))


def adopt_request_id(incoming: IncomingRequest, own: str | None) -> None:
    """Let the body's `request_id` name the call, unless a header does already."""
    if own is None or any(name == b"x-request-id" for name, _ in incoming.headers):
        return
    name = request_id([(b"x-request-id", own.encode())])
    call = incoming.call
    incoming.call = replace(call, id=name, headers={**call.headers, "x-request-id": name})


def to_input(side: str | Content) -> TextOrParts:
    """One text, or its content parts."""
    return side if isinstance(side, str) else ContentParts(side.content)


def to_inputs(side: Side) -> list[TextOrParts] | None:
    """Each document. A lone object of several parts without text is one document for each part, as the API began."""
    if side is None:
        return None
    if isinstance(side, list):
        return [to_input(each) for each in side]
    if isinstance(side, Content) and len(side.content) > 1 and not any(map(_is_text, side.content)):
        return [ContentParts([part]) for part in side.content]
    return [to_input(side)]


def tokens(usage: Usage | None) -> Tokens:
    """The counts are always there: 0 stands for a target that does not count."""
    counted = usage or Usage()
    prompt = counted.prompt_tokens or counted.total_tokens or 0
    return Tokens(prompt, counted.total_tokens or prompt)


def _echoed(document: TextOrParts) -> Document:
    return Document(document, None) if isinstance(document, str) else Document(None, document.content)


def _is_text(part: Any) -> bool:
    return isinstance(part, str) or (isinstance(part, dict) and part.get("type") == "text")
