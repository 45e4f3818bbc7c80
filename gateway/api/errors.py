"""Errors of ordinary routes as responses, with one body that every known client can read.

The body has the top-level strings that any client reads: `message` (Cohere, AI SDK), `detail` (Jina, Voyage,
Xinference), `error` and `error_type` (TEI). `error` is never an object: voyageai 0.3 fails on one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from math import ceil
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException

from gateway.api.dialects.unified.error_body import error_body
from gateway.api.error_status import status_of
from gateway.api.request_id import request_id
from gateway.errors import Limited, Unauthorized, UnreadableBody
from gateway.http1.content_coding import READABLE
from providers.errors import RerankError
from providers.types import Call

logger = logging.getLogger(__name__)


_HTTP_TYPES = {
    400: "invalid_request",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
}


def headers(error: RerankError) -> dict[str, str]:
    """The headers that go with an error: `retry-after` in whole seconds, the limits' state, `www-authenticate`,
    `accept-encoding` (RFC 9110 section 12.5.3)."""
    if isinstance(error, Unauthorized):
        return {"www-authenticate": "Bearer"}
    if isinstance(error, UnreadableBody):
        return {"accept-encoding": READABLE}
    extra = dict(error.headers) if isinstance(error, Limited) else {}
    if error.retry_after is not None:
        extra["retry-after"] = str(max(1, ceil(error.retry_after)))
    return extra


def http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Litestar's own errors, such as 404 for an unknown path, with our body."""
    kind = _HTTP_TYPES.get(error.status_code, "internal_error" if error.status_code >= 500 else "invalid_request")
    return response(error.status_code, _sentence(error) or kind, kind, _with_head(error.headers or {}), _id(request))


def _with_head(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with HEAD among the methods that are allowed where GET is: Litestar does not know of it."""
    return {
        name: value.replace("GET", "GET, HEAD") if name.lower() == "allow" and "HEAD" not in value else value
        for name, value in headers.items()
    }


_REMEDIES = {"Invalid RFC3339 encoded date": "must be a date such as 2026-11-01"}
"""msgspec's sentences that do not say what to write, and ours."""


def _sentence(error: HTTPException) -> str:
    """What is wrong, with the first field that is: Litestar keeps that beside a text that names none."""
    faults = error.extra if isinstance(error.extra, list) else []
    fault = faults[0] if faults and isinstance(faults[0], dict) else {}
    if "message" not in fault:
        return error.detail
    message = str(fault["message"])
    return f"{fault['key']}: {_REMEDIES.get(message, message)}" if fault.get("key") else message


def rerank_error(request: Request[Any, Any, Any], error: RerankError) -> Response[bytes]:
    """Our own errors, raised in an ordinary route."""
    return response(status_of(error), error.message, error.code, headers(error), _id(request))


def unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """An unexpected exception: logged with its traceback, answered without any detail."""
    logger.exception("internal error", exc_info=error)
    return response(500, "internal error", "internal_error", {}, _id(request))


def response(
    status: int, message: str, kind: str, extra: dict[str, str], call_id: str | None = None
) -> Response[bytes]:
    """The response for an error; `kind` is its stable code."""
    call = Call(id=call_id or request_id([]))
    return Response(
        error_body(message, kind, call),
        status_code=status,
        media_type="application/json",
        headers={**extra, "x-request-id": call.id},
    )


def _id(request: Request[Any, Any, Any]) -> str:
    return request_id(request.scope["headers"])
