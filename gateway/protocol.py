"""uvicorn's HTTP protocol, with bounds on a request's head, of which uvicorn itself takes any length, for ever, and
answers that go out in one piece."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.api import errors
from gateway.api.ids import request_id
from providers.types import Call

MOST_HEAD_BYTES = 65_536
"""Bytes of request line and headers; a head that comes in one piece of the network may be a little longer."""

HEAD_SECONDS = 20.0
"""Seconds for a head to be complete, from its first byte, or from the connection for the first one."""


class Gathering:
    """A transport that sends at once what is written within one turn of the event loop.

    uvicorn writes the head and the body of an answer one after the other, and each write is a system call that wakes
    the peer: 20 of 190 CPU-µs per request (docs/performance.md).
    """

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send this with whatever else is written now."""
        if not self._held:
            self._loop.call_soon(self._send)
        self._held.append(data)

    def close(self) -> None:
        """Close, once everything has been sent."""
        self._send()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _send(self) -> None:
        held, self._held = self._held, []
        if held and not self._transport.is_closing():
            self._transport.writelines(held)


class BoundedProtocol(HttpToolsProtocol):
    """Answers 431 to a head that is too long, and hangs up on one that does not come. Whole heads cost nothing."""

    _in_head = False
    _head_bytes = 0
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        transport = Gathering(transport, self.loop)  # type: ignore[assignment]  # all of it that uvicorn uses
        super().connection_made(transport)
        self._patience = self.loop.call_later(HEAD_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._be_calm()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._wait_for_more(len(data))
        elif self._is_idle():
            # Empty lines begin no request, and uvicorn has stopped its own clock at them.
            self._wait_for_more(0)
        elif self._patience is not None:
            self._be_calm()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_more(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > MOST_HEAD_BYTES:
            self._in_head = False
            self._refuse()
        elif self._patience is None:
            self._patience = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _be_calm(self) -> None:
        self._head_bytes = 0
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse(self) -> None:
        self._be_calm()
        message = f"the request's headers are longer than {MOST_HEAD_BYTES} bytes"
        body = errors.body(message, "headers_too_large", Call(id=request_id([])))
        head = (
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        )
        self.transport.write(head + body)
        self.transport.close()
