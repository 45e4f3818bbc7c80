"""uvicorn's HTTP protocol with two additions: limits on request heads, and responses in a single write."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from http import HTTPStatus

from litestar.types import Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.api.dialects.unified.error_body import error_body
from gateway.api.http import ANSWER, SingleWrite
from gateway.api.request_id import request_id
from gateway.http1.head import encode_headers
from gateway.http1.write_queue import WriteQueue, write_queue_of
from providers.types import Call

MAX_HEAD_BYTES = 65_536
"""Bytes of request line and headers. A head that arrives in a single read may be longer, by the size of that read."""

HEAD_SECONDS = 20.0
"""Seconds in which a head must be complete, from its first byte; for the first head, from the connection's start."""


class BoundedProtocol(HttpToolsProtocol):
    """Answers 431 to a head that is too long, and closes a connection whose head is not complete in time.

    uvicorn has no limit on either, so a client could hold connections and memory ("slowloris"). A head that arrives in
    one read, as nearly all do, costs no timer.
    """

    _in_head = False
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        self._write_queue = write_queue_of(self.loop)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, transport.close)

    def eof_received(self) -> None:
        self._write_queue.flush()
        super().eof_received()

    def shutdown(self) -> None:
        """Stop after the current response. uvicorn takes one that is still in the write queue for sent, so flush it."""
        self._write_queue.flush()
        super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        self._reset_head_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope:
            single_write: SingleWrite = SingleWriteResponse(cycle, self._write_queue)
            self.scope["extensions"] = {ANSWER: single_write}  # type: ignore[dict-item]  # typed as data only

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._await_head(len(data))
        elif self._is_idle():
            # Empty lines before a request line are ignored (RFC 9112 section 2.2), but uvicorn has stopped its
            # keep-alive timer at them.
            self._await_head(0)
        elif self._head_timer is not None:
            self._reset_head_timer()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self, byte_count: int) -> None:
        self._head_bytes += byte_count
        if self._head_bytes > MAX_HEAD_BYTES:
            self._in_head = False
            self._send_431()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _reset_head_timer(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _send_431(self) -> None:
        self._reset_head_timer()
        message = f"the request's headers are longer than {MAX_HEAD_BYTES} bytes"
        body = error_body(message, "headers_too_large", Call(id=request_id([])))
        head = (
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        )
        self.transport.write(head + body)
        self.transport.close()


class SingleWriteResponse:
    """Sends a JSON response in one write, which is batched with those of other requests.

    ASGI's `send` takes a response as two messages, and uvicorn writes each at once; see gateway.http1.write_queue for
    what that costs. What follows the write here is what uvicorn does after the last message.
    """

    __slots__ = ("_cycle", "_write_queue")

    def __init__(self, cycle: RequestResponseCycle, write_queue: WriteQueue) -> None:
        self._cycle = cycle
        self._write_queue = write_queue

    def can_replace(self, send: Send) -> bool:
        """Whether the effect is that of `send`: no middleware has wrapped it, and the transport accepts data now."""
        cycle = self._cycle
        return send == cycle.send and not cycle.flow.write_paused and cycle.scope["method"] != "HEAD"

    def __call__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send the response; `content-type` and `content-length` are added. Does nothing if the caller has gone."""
        cycle = self._cycle
        if cycle.disconnected:
            return
        cycle.keep_alive = cycle.keep_alive and headers.get("connection") != "close"
        if not cycle.keep_alive:
            headers = {**headers, "connection": "close"}
        self._write_queue.enqueue(_write, cycle.transport, _encode_head(status, headers, len(body)), body)
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            self._write_queue.flush()
            cycle.transport.close()
        cycle.on_response()


def _write(transport: asyncio.Transport, head: bytes, body: bytes) -> None:
    if not transport.is_closing():
        transport.writelines((head, body))


def _encode_head(status: int, headers: Mapping[str, str], length: int) -> bytes:
    lines = encode_headers(headers)
    first = f"HTTP/1.1 {status} {_PHRASES[status]}\r\n"
    return f"{first}content-type: application/json\r\ncontent-length: {length}\r\n{lines}\r\n".encode("latin-1")


_PHRASES: Mapping[int, str] = defaultdict(str, {status.value: status.phrase for status in HTTPStatus})
"""Reason phrases by status code; empty for unknown codes, as RFC 9112 section 4 allows."""
