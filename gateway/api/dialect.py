"""A dialect: one wire format that we serve, as three pure functions over the canonical types.

`FormT` is the dialect's own: whatever its `encode` must know of a request beside the canonical one, decided by its
`decode`. Envoy AI Gateway's `Translator[ReqT, SpanT]` is built the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from msgspec import UNSET, Struct, UnsetType

from gateway.access.keys import ANYONE, Principal
from gateway.api.error_status import status_of
from gateway.config.limits import NO_REQUEST_LIMITS, RequestLimitSettings
from providers.errors import RerankError
from providers.types import Call, Ranking, RerankRequest

FormT = TypeVar("FormT")

WireDocument = str | dict[str, Any] | None
"""A document as callers may write it: text, `{text, id?, meta?}`, structured data, or content parts."""

DefaultModel = Callable[[], str | None]
"""Returns the model for requests that name none, in the dialects that allow it; None if none is configured."""


class IncomingRequest(Struct):
    """A request as it came in.

    Attributes:
        body: complete and decompressed.
        path: the URL's path, decoded.
        headers: ASGI's pairs, names in lower case.
        call: shared by all attempts for this request. A dialect whose bodies may give an id puts another in its place.
        is_alias: whether a name without a slash is one of the configured names.
        caller: who sent the request.
        limits: on the number of documents; the others were applied to the body.
    """

    body: bytes
    path: str
    headers: Iterable[tuple[bytes, bytes]]
    call: Call
    is_alias: Callable[[str], bool]
    caller: Principal = ANYONE
    limits: RequestLimitSettings = NO_REQUEST_LIMITS


class DecodedRequest(Struct, Generic[FormT]):
    """What a caller asked for.

    Attributes:
        request: canonical and valid.
        form: what the dialect's `encode` must know beside it; None if nothing.
        fallbacks: those in the request; None means the configured ones.
        document_id: gives the id that the caller wrote beside a document, by the document's index, or None; traces show
            it. None where there are no ids.
    """

    request: RerankRequest
    form: FormT
    fallbacks: list[str] | None = None
    document_id: Callable[[int], str | None] | None = None


class TracedBody(Struct, kw_only=True):
    """What the error bodies of all dialects may have beside the vendor's own fields.

    Attributes:
        trace_id: by which the operator finds the spans of the request; absent unless they are recorded.
    """

    trace_id: str | UnsetType = UNSET


class ErrorReply(Struct):
    """What to answer in place of a ranking.

    Attributes:
        message: one sentence, for people.
        code: stable, for programs.
        model: as the caller named it; None if the request could not be read that far.
        error: the exception; None if none was raised.
        trace_id: of the trace that is recorded; UNSET if none is.
    """

    status: int
    message: str
    code: str
    call: Call
    model: str | None = None
    error: RerankError | None = None
    trace_id: str | UnsetType = UNSET


class Dialect(Struct, Generic[FormT], frozen=True, kw_only=True):
    """One wire format.

    Attributes:
        name: for telemetry.
        paths: where it is served, in Litestar's path syntax.
        decode: reads a request. Raises InvalidRequest, with the vendor's own message, for a bad one.
        encode: the body of a 200, from the verified ranking and the latency in milliseconds.
        encode_error: the body of any other answer.
        request_type, answer_type, error_types: what the bodies are, for the OpenAPI document.
        status: the HTTP status of an error; the gateway's own table unless the vendor's differs.
    """

    name: str
    paths: list[str]
    decode: Callable[[IncomingRequest], DecodedRequest[FormT]]
    encode: Callable[[DecodedRequest[FormT], Ranking, int], bytes]
    encode_error: Callable[[ErrorReply], bytes]
    request_type: type[Any]
    answer_type: type[Any]
    error_types: tuple[type[Any], ...]
    status: Callable[[RerankError], int] = status_of


AnyDialect = Dialect[Any]
"""For collections of dialects with different forms."""
