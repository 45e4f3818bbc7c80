"""Answers to what is no request that can be served: told by the protocol itself, before any route is known."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

from gateway.api.dialects.unified.error_body import error_body
from gateway.api.request_id import request_id
from gateway.server.response import encode_head
from providers.types import Call

Headers = Iterable[tuple[bytes, bytes]]

_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::\d*)?")
"""`uri-host [":" port]` (RFC 9112 section 3.2, RFC 3986 section 3.2.2)."""


class Refusal(Struct, frozen=True):
    """Why a request is not served. The connection is closed after it."""

    status: int
    code: str
    message: str


class RefusedError(Exception):
    """Raised by a callback of the parser, which then parses no further."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


HTTP_2 = Refusal(505, "http_version_not_supported", "this gateway speaks HTTP/1.1; let the client use that")
VERSION = Refusal(505, "http_version_not_supported", "this gateway speaks HTTP/1.1 and HTTP/1.0 only")
TUNNEL = Refusal(400, "invalid_request", "this gateway is no proxy: CONNECT is not implemented")
CODING = Refusal(
    501, "not_implemented", "of transfer codings only `chunked` is read here; send the body without others"
)
HOST = Refusal(400, "invalid_request", "an HTTP/1.1 request needs one valid Host header (RFC 9112 section 3.2)")

CHECKED = frozenset({b"host", b"transfer-encoding"})
"""Headers that `check_head` looks at; names in lower case."""


def malformed(reason: str) -> Refusal:
    """For what the parser does not take. Its reasons are fixed sentences, with nothing of the request in them."""
    return Refusal(400, "invalid_request", f"this is not a valid HTTP/1.1 request (RFC 9112): {reason}")


def head_too_large(max_bytes: int) -> Refusal:
    """For a head that is longer than this."""
    return Refusal(431, "headers_too_large", f"the request's headers are longer than {max_bytes} bytes")


def framing_too_large(max_bytes: int) -> Refusal:
    """For a body that does not go on for longer than this."""
    return Refusal(
        431,
        "headers_too_large",
        f"chunk extensions or trailers of the request's body are longer than {max_bytes} bytes",
    )


def too_slow(seconds: float) -> Refusal:
    """For a body that was not complete in this time."""
    return Refusal(408, "request_timeout", f"the request's body did not arrive within {seconds:g} s of its headers")


def check_head(version: str, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Raises RefusedError for a head that is well-formed but cannot be served.

    Args:
        version: of HTTP, such as `1.1`.
        headers: all those of the names in CHECKED.
    """
    hosts = [value for name, value in headers if name == b"host"]
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if version not in ("1.1", "1.0"):
        raise RefusedError(VERSION)
    if len(hosts) != 1 if version == "1.1" else len(hosts) > 1:
        raise RefusedError(HOST)
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise RefusedError(HOST)
    if codings not in ([], [b"chunked"]):
        raise RefusedError(CODING)


def check_method(method: bytes) -> None:
    """Raises RefusedError for CONNECT, whose request is followed by another protocol."""
    if method == b"CONNECT":
        raise RefusedError(TUNNEL)


def encode(refusal: Refusal, headers: Headers) -> bytes:
    """The whole response.

    Args:
        refusal: what it says.
        headers: of the request, as far as they were read; an id among them is kept.
    """
    call = Call(id=request_id(headers))
    body = error_body(refusal.message, refusal.code, call)
    return encode_head(refusal.status, {"x-request-id": call.id, "connection": "close"}, len(body)) + body
