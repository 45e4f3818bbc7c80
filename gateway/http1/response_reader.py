"""Read one HTTP/1.1 answer after the other from the bytes of a connection (RFC 9112), by the parser of httptools."""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from msgspec import Struct

MAX_HEAD_BYTES = 64 * 1024
"""Bytes of a status line and headers. Whoever sends more sends no answer."""


class ProtocolError(Exception):
    """What came is no HTTP answer."""


class BodyTooLarge(Exception):
    """The body is over the limit. `args` are the status of the answer."""


class RawResponse(Struct):
    """A whole answer: names of headers in lower case, the first of several values, the body as it was sent."""

    status: int
    headers: dict[str, str]
    body: bytes


class ResponseReader:
    """Collects the pieces of an answer.

    Args:
        limit: the most bytes that a body may have.

    Attributes:
        begun: some byte of the answer has come.
        reusable: after a whole answer, whether the connection can carry another.
    """

    __slots__ = (
        "_complete",
        "_head",
        "_headers",
        "_in_head",
        "_limit",
        "_parser",
        "_pieces",
        "_size",
        "_status",
        "_too_long",
        "begun",
        "reusable",
    )

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parser = HttpResponseParser(self)
        self._reset()

    def _reset(self) -> None:
        self._headers: dict[str, str] = {}
        self._pieces: list[bytes] = []
        self._status = self._head = self._size = 0
        self._in_head = True
        self._complete = self._too_long = self.begun = self.reusable = False

    def feed(self, data: bytes) -> bool:
        """Take what came. True once the answer is whole. Raises ProtocolError and BodyTooLarge."""
        self.begun = True
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self.reusable = False
            if not self._complete:
                raise ProtocolError from None
        if self._too_long:
            raise BodyTooLarge(self._status)
        if self._in_head:
            self._head += len(data)
            if self._head > MAX_HEAD_BYTES:
                raise ProtocolError
        return self._complete

    def ends(self) -> bool:
        """Whether the end of the connection is the end of the answer: its length was not told (section 6.3)."""
        told = "content-length" in self._headers or "transfer-encoding" in self._headers
        return not (self._in_head or told)

    def take(self) -> RawResponse:
        """The answer, which is whole; the next feed belongs to the next one."""
        pieces = self._pieces
        answer = RawResponse(self._status, self._headers, pieces[0] if len(pieces) == 1 else b"".join(pieces))
        self._reset()
        return answer

    def close(self) -> None:
        """Let go of the parser, which holds this reader."""
        del self._parser

    # What the parser calls

    def on_message_begin(self) -> None:
        if self._complete:
            raise ProtocolError  # More came than the answer: nothing of it may be taken for a part of that.

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # Trailers, which come after chunks, are dropped, as RFC 9110 section 6.5.1 allows.
            self._headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        self._in_head = False

    def on_body(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limit:
            self._too_long = True
        else:
            self._pieces.append(piece)

    def on_message_complete(self) -> None:
        if self._status < 200:  # An interim answer (RFC 9110 section 15.2): the real one follows.
            self._headers, self._in_head = {}, True
            return
        self._complete = True
        self.reusable = self._parser.should_keep_alive()
