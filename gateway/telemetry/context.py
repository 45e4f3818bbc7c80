"""W3C trace context: read from the caller, sent to every upstream; baggage is forwarded unchanged.

Source: https://www.w3.org/TR/trace-context/ , https://www.w3.org/TR/baggage/
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from random import getrandbits

from msgspec import Struct

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
MAX_HEADER_LENGTH = 8192
"""Characters of a trace header; a longer one is ignored, as if the caller had not sent it."""

_CONTEXT_HEADERS = frozenset({b"traceparent", b"tracestate", b"baggage", b"x-gateway-traceparent"})


class Parent(Struct, frozen=True):
    """The caller's span."""

    trace_id: int
    span_id: int
    sampled: bool


class Trace(Struct, frozen=True):
    """The trace that a request is part of, with the ids of the spans that the gateway makes for it.

    Attributes:
        trace_id: 128 bits.
        parent: the caller's span; None if the trace starts here.
        server_span, rerank_span: ids of the span for the HTTP request, and of the one for the logical rerank call.
        sampled: whether spans are recorded.
        state: the `tracestate` header.
    """

    trace_id: int
    parent: Parent | None
    server_span: int
    rerank_span: int
    sampled: bool
    state: str = ""

    def traceparent(self, span: int) -> str:
        """The `traceparent` header that names that span as the parent."""
        return f"00-{self.trace_id:032x}-{span:016x}-{self.sampled:02x}"


def read_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The trace context and baggage among these ASGI headers. Repeated headers are joined, as the standard says."""
    values: dict[str, str] = {}
    for name, value in headers:
        if name in _CONTEXT_HEADERS:
            key, text = name.decode("ascii"), value.decode("latin-1")
            if text.isascii() and text.isprintable() and len(text) <= MAX_HEADER_LENGTH:
                values[key] = f"{values[key]},{text}" if key in values else text
    return values


def parse(traceparent: str | None) -> Parent | None:
    """The caller's span; None if the header is absent or malformed; the standard then says to start a new trace."""
    match = _PARENT.fullmatch(traceparent or "")
    if match is None or ((traceparent or "").startswith("00") and len(traceparent or "") != 55):
        return None
    return Parent(int(match[1], 16), int(match[2], 16), bool(int(match[3], 16) & 1))


def new_span_id() -> int:
    """64 random bits, never 0."""
    return getrandbits(64) or 1


def new_trace_id() -> int:
    """128 random bits, never 0."""
    return getrandbits(128) or 1
