"""Parse HTTP/1.1 responses (RFC 9112) from the bytes of one connection, with the parser of httptools."""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from msgspec import Struct

MAX_HEAD_BYTES = 64 * 1024
"""Most that may come without a byte of a body in it: status line and headers, interim responses, trailers."""

MAX_FRAMING_BYTES = 256 * 1024
"""Most that may come beside the body in all, plus a quarter of the body: a short body may come in chunks of any size, a
long one in chunks of 24 bytes or more."""

_LISTS = ("content-encoding", "transfer-encoding")
"""Headers of which each value counts, in their order (RFC 9110 section 5.3)."""


class ProtocolError(Exception):
    """The server sent something other than an HTTP response."""


class FramingTooLarge(ProtocolError):
    """More came beside the body than its frame can need: headers, chunk sizes and their extensions, trailers."""


class BodyTooLarge(Exception):
    """The response body is over the limit. `args` holds the status code."""


class RawResponse(Struct):
    """A complete response. Header names are in lower case; of repeated headers the first counts, but all codings do;
    the body is as sent, possibly compressed."""

    status: int
    headers: dict[str, str]
    body: bytes


class ResponseReader:
    """Collects responses from received data, one after the other.

    Attributes:
        max_body_bytes: largest acceptable body; each response may have a limit of its own.
        has_started: some byte of the current response has arrived.
        reusable: after a complete response, whether the connection can carry another request.
    """

    __slots__ = (
        "_body",
        "_body_too_large",
        "_complete",
        "_framing",
        "_headers",
        "_in_head",
        "_parser",
        "_silence",
        "_size",
        "_status",
        "has_started",
        "max_body_bytes",
        "reusable",
    )

    def __init__(self, max_body_bytes: int) -> None:
        self.max_body_bytes = max_body_bytes
        self._parser = HttpResponseParser(self)
        self._reset()

    def _reset(self) -> None:
        self._headers: dict[str, str] = {}
        self._body: bytes | bytearray = b""
        self._status = self._framing = self._silence = self._size = 0
        self._in_head = True
        self._complete = self._body_too_large = self.has_started = self.reusable = False

    def feed(self, data: bytes) -> bool:
        """Parse received data. Returns whether the response is complete.

        Raises:
            ProtocolError: the data is not an HTTP response.
            FramingTooLarge: there is too much beside its body.
            BodyTooLarge: the body is over the limit.
        """
        self.has_started, size = True, self._size
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            # Data after a complete response spoils the connection, but not the response.
            self.reusable = False
            if not self._complete:
                raise ProtocolError from None
        if self._body_too_large:
            raise BodyTooLarge(self._status)
        if not self._complete:
            self._count_framing(len(data), self._size - size)
        return self._complete

    def _count_framing(self, received: int, body: int) -> None:
        self._framing += received - body
        self._silence = 0 if body else self._silence + received
        if self._silence > MAX_HEAD_BYTES or self._framing > MAX_FRAMING_BYTES + self._size // 4:
            raise FramingTooLarge

    def ends_with_connection(self) -> bool:
        """Whether closing the connection completes the response: it declares no length (RFC 9112 section 6.3)."""
        if self._in_head or "content-length" in self._headers:
            return False
        codings = self._headers.get("transfer-encoding", "")
        return codings.rpartition(",")[2].strip().lower() != "chunked"

    def error_without_body(self) -> RawResponse | None:
        """What is known of an error answer whose body cannot be had; None if no such answer has begun."""
        if self._in_head or self._status < 300:
            return None
        return RawResponse(self._status, self._headers, b"")

    def pop_response(self) -> RawResponse:
        """The complete response. Data fed from now on belongs to the next one."""
        response = RawResponse(self._status, self._headers, bytes(self._body))
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
            # The parser leaves white space behind a value, which is no part of it (RFC 9112 section 5.1).
            key, text = name.decode("latin-1").lower(), value.decode("latin-1").rstrip(" \t")
            if self._headers.setdefault(key, text) is not text and key in _LISTS:
                self._headers[key] += f", {text}"

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        self._in_head = False

    def on_body(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > self.max_body_bytes:
            self._body_too_large = True
        elif not self._body:
            self._body = chunk
        else:
            # One buffer, however many chunks: each as an object of its own would take many times its size.
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += chunk

    def on_message_complete(self) -> None:
        if self._status < 200:
            # An interim response (RFC 9110 section 15.2), such as 103 Early Hints: the final one follows.
            self._headers, self._in_head = {}, True
            return
        self._complete = True
        self.reusable = self._parser.should_keep_alive()
