"""Errors as callers get them: one table from class to status, one body that every known client can read.

The body's top-level strings are the union of what clients parse: `message` (Cohere, AI SDK), `detail` (Jina, Voyage,
Xinference), `error` and `error_type` (TEI). `error` is never an object: voyageai 0.3 fails on one.
"""

from __future__ import annotations

import logging
from math import ceil
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from msgspec import Struct

from gateway.api.answer import ExtraFields
from gateway.api.ids import request_id
from gateway.errors import (
    BreakerOpen,
    BudgetSpent,
    Limited,
    LimitReached,
    ModelNotAllowed,
    NotAdmin,
    PriceUnknown,
    StoreDown,
    TooLarge,
    TooMuch,
    Unauthorized,
    UnknownModel,
)
from providers import errors
from providers.errors import RerankError
from providers.types import Call

logger = logging.getLogger(__name__)

STATUS: dict[type[RerankError], int] = {
    UnknownModel: 404,
    TooLarge: 413,
    BreakerOpen: 503,
    Unauthorized: 401,
    ModelNotAllowed: 403,
    NotAdmin: 403,
    PriceUnknown: 403,
    LimitReached: 429,
    TooMuch: 413,
    BudgetSpent: 402,
    StoreDown: 503,
    errors.CallerError: 400,
    errors.Unreachable: 502,
    errors.TargetTimeout: 504,
    errors.BadAnswer: 502,
    errors.CredentialsRejected: 502,
    errors.RateLimited: 429,
    errors.TargetFailed: 502,
    errors.Overloaded: 429,
    errors.NotReady: 503,
    errors.RerankError: 500,
}
"""The status of each error class; a class that is not here has its nearest ancestor's."""

AS_IT_IS: dict[type[RerankError], frozenset[int]] = {
    errors.Rejected: frozenset({400, 404, 413, 422, 498}),
    errors.TargetFailed: frozenset({503, 504}),
}
"""The upstream statuses that reach the caller unchanged, by error class."""

_HTTP_TYPES = {
    400: "invalid_request",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
}

_encode = msgspec.json.Encoder().encode


class ErrorBody(Struct, kw_only=True):
    """The body of every answer that is not a 2xx."""

    message: str
    detail: str
    error: str
    error_type: str
    id: str
    extra_fields: ExtraFields


def status_of(error: RerankError) -> int:
    """The HTTP status a caller gets for that error."""
    for kind, statuses in AS_IT_IS.items():
        if isinstance(error, kind) and error.status in statuses:
            return error.status
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def body(message: str, error_type: str, call: Call, model: str | None = None) -> bytes:
    """The bytes of an error answer."""
    attempts = call.attempts or None
    fields = ExtraFields(
        provider=(attempts[0].provider or None) if attempts else None, original_model_requested=model, attempts=attempts
    )
    return _encode(
        ErrorBody(
            message=message, detail=message, error=message, error_type=error_type, id=call.id, extra_fields=fields
        )
    )


def headers(error: RerankError) -> dict[str, str]:
    """The headers an error adds: `retry-after` in whole seconds where the wait is known, limits, how to log in."""
    if isinstance(error, Unauthorized):
        return {"www-authenticate": "Bearer"}
    found = dict(error.headers) if isinstance(error, Limited) else {}
    if error.retry_after is not None:
        found["retry-after"] = str(max(1, ceil(error.retry_after)))
    return found


def http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Litestar's own errors in our shape."""
    kind = _HTTP_TYPES.get(error.status_code, "internal_error" if error.status_code >= 500 else "invalid_request")
    return response(error.status_code, error.detail or kind, kind, dict(error.headers or {}), _id(request))


def rerank_error(request: Request[Any, Any, Any], error: RerankError) -> Response[bytes]:
    """Our errors, raised in an ordinary route."""
    return response(status_of(error), error.message, error.code, headers(error), _id(request))


def unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A fault of ours: logged whole, shown as nothing but that."""
    logger.exception("internal error", exc_info=error)
    return response(500, "internal error", "internal_error", {}, _id(request))


def response(
    status: int, message: str, kind: str, extra: dict[str, str], call_id: str | None = None
) -> Response[bytes]:
    """An error as an ordinary route answers it."""
    call = Call(id=call_id or request_id([]))
    return Response(
        body(message, kind, call),
        status_code=status,
        media_type="application/json",
        headers={**extra, "x-request-id": call.id},
    )


def _id(request: Request[Any, Any, Any]) -> str:
    return request_id(request.scope["headers"])
