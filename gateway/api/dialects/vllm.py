"""vLLM's rerank and score APIs.

Source: https://docs.vllm.ai/en/latest/models/pooling_models/scoring/ and the source of vLLM 0.33.0 (2026-11)

The answer's id contains `X-Request-Id`, else the body's `request_id`. Documents are always returned, with nulls.
`top_n: 0` means all. Queries and documents may be content parts; targets that only read text refuse those with a 400.
The ids of rankings begin with `rerank-`, as in the documentation, although 0.33 itself writes `score-` for both APIs.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway.api.dialect import DecodedRequest, DefaultModel, Dialect, ErrorReply, IncomingRequest, TracedBody
from gateway.api.dialects.validation import ErrorMessages, InvalidBody, build_decoder, validate
from gateway.api.request_id import request_id
from gateway.errors import UnknownModel
from providers.types import ContentParts, Ranking, TextOrParts, Usage
from providers.wire.fields import without_nulls

MESSAGES = ErrorMessages(
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
    415: "Unsupported Media Type",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    503: "ServiceUnavailableError",
}
"""`type` by status; any other status is InternalServerError."""

_encode = msgspec.json.Encoder().encode


class Content(Struct):
    """A multimodal query or document."""

    content: list[Any]


Inputs = str | Content | list[str | Content] | None


class Options(Struct, kw_only=True):
    """The fields that both APIs take beside their texts, passed on to targets that declare them."""

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
        """The vendor's own fields that the request holds."""
        return without_nulls(**{name: getattr(self, name) for name in _EXTRAS})


_EXTRAS = [
    name
    for name in Options.__struct_fields__
    if name not in {"model", "max_tokens_per_doc", "priority", "request_id", "instruction"}
]


class Body(Options, kw_only=True):
    query: str | Content | None = None
    documents: Inputs = None
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


class ErrorBody(TracedBody):
    error: ErrorDetail


class Unauthorized(TracedBody):
    error: str


def dialect(default_model: DefaultModel) -> Dialect[None]:
    """The dialect at `/vllm`."""
    read = build_decoder(Body, MESSAGES)

    def decode(incoming: IncomingRequest) -> DecodedRequest[None]:
        body = read(incoming)
        adopt_request_id(incoming, body.request_id)
        request = validate(
            incoming,
            MESSAGES,
            model=body.model or default_model(),
            query=to_input(body.query) if body.query is not None else None,
            documents=to_inputs(body.documents),
            limit=body.top_n or None,
            max_tokens_per_doc=body.max_tokens_per_doc or None,
            priority=body.priority,
            instruction=body.instruction,
            extra=body.extra(),
        )
        return DecodedRequest(request, None)

    paths = ["/vllm/rerank", "/vllm/v1/rerank", "/vllm/v2/rerank"]
    return Dialect(
        name="vllm",
        paths=paths,
        decode=decode,
        encode=encode,
        encode_error=encode_error,
        request_type=Body,
        answer_type=Answer,
        error_types=(ErrorBody, Unauthorized),
    )


def encode(decoded: DecodedRequest[None], ranking: Ranking, latency: int) -> bytes:
    """The body of a 200."""
    documents = decoded.request.documents
    results = [Result(row.index, _to_document(documents[row.index]), row.relevance_score) for row in ranking.results]
    return _encode(Answer(f"rerank-{decoded.request.call.id}", ranking.shown_model, tokens(ranking.usage), results))


def encode_error(reply: ErrorReply) -> bytes:
    """The body of any other answer."""
    error = reply.error
    if reply.status == 401:
        return _encode(Unauthorized("Unauthorized", trace_id=reply.trace_id))
    if isinstance(error, UnknownModel):
        message = f"The model `{reply.model}` does not exist. {reply.message}"
        return _encode(ErrorBody(ErrorDetail(message, "NotFoundError", "model", 404), trace_id=reply.trace_id))
    kind = TYPES.get(reply.status, "InternalServerError")
    param = None
    if isinstance(error, InvalidBody):
        param = f"body.{error.field}" if error.field else None
        kind = "Bad Request" if error.message.startswith("1 validation") else kind
    return _encode(ErrorBody(ErrorDetail(reply.message, kind, param, reply.status), trace_id=reply.trace_id))


def adopt_request_id(incoming: IncomingRequest, body_id: str | None) -> None:
    """Use the body's `request_id` as the request's id, unless a header gives one."""
    if body_id is None or any(name == b"x-request-id" for name, _ in incoming.headers):
        return
    new_id = request_id([(b"x-request-id", body_id.encode())])
    call = incoming.call
    incoming.call = replace(call, id=new_id, headers={**call.headers, "x-request-id": new_id})


def to_input(value: str | Content) -> TextOrParts:
    """One query or document: its text, or its content parts."""
    return value if isinstance(value, str) else ContentParts(value.content)


def to_inputs(values: Inputs) -> list[TextOrParts] | None:
    """Each query or document. One object with several parts and no text stands for one document per part.

    That is how the API took images before it had lists of objects, and vLLM still reads it so.
    """
    if values is None:
        return None
    if isinstance(values, list):
        return [to_input(value) for value in values]
    if isinstance(values, Content) and len(values.content) > 1 and not any(map(_is_text, values.content)):
        return [ContentParts([part]) for part in values.content]
    return [to_input(values)]


def tokens(usage: Usage | None) -> Tokens:
    """The counts, which vLLM's clients require: 0 if the target does not report them."""
    reported = usage or Usage()
    prompt = reported.prompt_tokens or reported.total_tokens or 0
    return Tokens(prompt, reported.total_tokens or prompt)


def _to_document(document: TextOrParts) -> Document:
    return Document(document, None) if isinstance(document, str) else Document(None, document.content)


def _is_text(part: Any) -> bool:
    return isinstance(part, str) or (isinstance(part, dict) and part.get("type") == "text")
