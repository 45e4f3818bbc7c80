"""How a response leaves: in one write where that is possible; with `connection: close` if it comes before the body."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from litestar.types import Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gateway.http1.head import encode_headers
from gateway.http1.write_queue import WriteQueue


class BoundedCycle(RequestResponseCycle):
    """One request and its response. A response that leaves before the whole request has come ends the connection.

    Otherwise what the caller sends next would be taken for the rest of the body: after a refused
    `Expect: 100-continue` it never comes (RFC 9110 section 10.1.1).
    """

    async def send(self, message: Any) -> None:
        """ASGI's. The protocol closes the connection after an early response: only it can do so without a reset."""
        if self.more_body:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            elif not message.get("more_body"):
                self.keep_alive = True
        await super().send(message)


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
        cycle.keep_alive = cycle.keep_alive and not cycle.more_body and headers.get("connection") != "close"
        if not cycle.keep_alive:
            headers = {**headers, "connection": "close"}
        self._write_queue.enqueue(_write, cycle.transport, encode_head(status, headers, len(body)), body)
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive and not cycle.more_body:
            self._write_queue.flush()
            cycle.transport.close()
        cycle.on_response()


def _write(transport: asyncio.Transport, head: bytes, body: bytes) -> None:
    if not transport.is_closing():
        transport.writelines((head, body))


def encode_head(status: int, headers: Mapping[str, str], length: int) -> bytes:
    """The head of a JSON response whose body has this length in bytes."""
    lines = encode_headers(headers)
    first = f"HTTP/1.1 {status} {_PHRASES[status]}\r\n"
    return f"{first}content-type: application/json\r\ncontent-length: {length}\r\n{lines}\r\n".encode("latin-1")


_PHRASES: Mapping[int, str] = defaultdict(str, {status.value: status.phrase for status in HTTPStatus})
"""Reason phrases by status code; empty for unknown codes, as RFC 9112 section 4 allows."""
