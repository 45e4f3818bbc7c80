"""Parse HTTP/1.1 responses (RFC 9112) from the bytes of one connection, with the parser of httptools."""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from msgspec import Struct

MAX_HEAD_BYTES = 64 * 1024
"""Largest acceptable status line and headers together."""


class ProtocolError(Exception):
    """The server sent something other than an HTTP response."""


class BodyTooLarge(Exception):
    """The response body is over the limit. `args` holds the status code."""


class RawResponse(Struct):
    """A complete response. Header names are in lower case; of repeated headers the first counts; the body is as sent,
    possibly compressed."""

    status: int
    headers: dict[str, str]
    body: bytes


class ResponseReader:
    """Collects responses from received data, one after the other.

    Args:
        max_body_bytes: largest acceptable body.

    Attributes:
        has_started: some byte of the current response has arrived.
        reusable: after a complete response, whether the connection can carry another request.
    """

    __slots__ = (
        "_body_too_large",
        "_chunks",
        "_complete",
        "_head_bytes",
        "_headers",
        "_in_head",
        "_max_body_bytes",
        "_parser",
        "_size",
        "_status",
        "has_started",
        "reusable",
    )

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._parser = HttpResponseParser(self)
        self._reset()

    def _reset(self) -> None:
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._status = self._head_bytes = self._size = 0
        self._in_head = True
        self._complete = self._body_too_large = self.has_started = self.reusable = False

    def feed(self, data: bytes) -> bool:
        """Parse received data. Returns whether the response is complete.

        Raises:
            ProtocolError: the data is not an HTTP response, or its head is too long.
            BodyTooLarge: the body is over the limit.
        """
        self.has_started = True
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            # Data after a complete response spoils the connection, but not the response.
            self.reusable = False
            if not self._complete:
                raise ProtocolError from None
        if self._body_too_large:
            raise BodyTooLarge(self._status)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                raise ProtocolError
        return self._complete

    def ends_with_connection(self) -> bool:
        """Whether closing the connection completes the response: it declares no length (RFC 9112 section 6.3)."""
        has_length = "content-length" in self._headers or "transfer-encoding" in self._headers
        return not (self._in_head or has_length)

    def pop_response(self) -> RawResponse:
        """The complete response. Data fed from now on belongs to the next one."""
        chunks = self._chunks
        response = RawResponse(self._status, self._headers, chunks[0] if len(chunks) == 1 else b"".join(chunks))
        self._reset()
        return response

    def close(self) -> None:
        """Drop the parser. It refers back to this reader, and the cycle would last until the garbage collector runs."""
        del self._parser

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        if self._complete:
            # A second response in the same data: nothing of it may become part of the first one.
            raise ProtocolError

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers arrive after the head. RFC 9110 section 6.5.1 allows to drop them.
        if self._in_head:
            self._headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        self._in_head = False

    def on_body(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > self._max_body_bytes:
            self._body_too_large = True
        else:
            self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        if self._status < 200:
            # An interim response (RFC 9110 section 15.2), such as 103 Early Hints: the final one follows.
            self._headers, self._in_head = {}, True
            return
        self._complete = True
        self.reusable = self._parser.should_keep_alive()
