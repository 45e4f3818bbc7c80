"""A dialect: one wire format that we serve, as three pure functions over the canonical types."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from gateway.access.keys import ANYONE, Principal
from gateway.api.error_status import status_of
from providers.errors import RerankError
from providers.types import Call, Ranking, RerankRequest

DefaultModel = Callable[[], str | None]
"""What gives the model of requests that name none, in the dialects which allow that; None where none is configured."""


class IncomingRequest(Struct):
    """A request as it came in.

    Attributes:
        body: complete, decompressed.
        path: the URL's path, decoded.
        headers: ASGI's pairs, names in lower case.
        call: what all attempts will share. A dialect whose bodies may name the call puts another in its place.
        is_alias: whether the configuration gives a name without a slash a meaning.
        caller: whose request it is.
    """

    body: bytes
    path: str
    headers: Iterable[tuple[bytes, bytes]]
    call: Call
    is_alias: Callable[[str], bool]
    caller: Principal = ANYONE


class DecodedRequest(Struct):
    """What a caller asked for.

    Attributes:
        request: canonical and valid.
        documents: the caller's own, for the echo.
        fallbacks: the caller's own; None means those configured.
        form: whatever else the dialect's `encode` needs to know of the request.
    """

    request: RerankRequest
    documents: list[WireDocument]
    fallbacks: list[str] | None = None
    form: object = None


class ErrorReply(Struct):
    """Why there is no ranking: `error` was raised; `model` is the name that was asked for, if it came that far."""

    status: int
    message: str
    code: str
    call: Call
    model: str | None = None
    error: RerankError | None = None


class Dialect(Struct, frozen=True, kw_only=True):
    """One wire format.

    Attributes:
        name: for telemetry.
        paths: where it is served; Litestar's path syntax.
        decode: raises RerankError (InvalidRequest with the dialect's own wording) for a bad request.
        encode: the body of a 200, from the verified ranking and the latency in milliseconds.
        encode_error: the body of any other answer.
        shapes: the types of the request, the answer and each refusal, for the OpenAPI document; none for the unified
            dialect, which says its own in words.
        status: the HTTP status of an error; the gateway's own table unless the vendor's differs.
    """

    name: str
    paths: list[str]
    decode: Callable[[IncomingRequest], DecodedRequest]
    encode: Callable[[DecodedRequest, Ranking, int], bytes]
    encode_error: Callable[[ErrorReply], bytes]
    shapes: tuple[Any, ...] = ()
    status: Callable[[RerankError], int] = status_of


WireDocument = str | dict[str, Any] | None
"""A document as callers may write it: text, `{text, id?, meta?}`, structured data, or content parts."""
