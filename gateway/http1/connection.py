"""One client connection that speaks HTTP/1.1: send a request, receive the whole response."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from gateway.http1.response_reader import BodyTooLarge, ProtocolError, RawResponse, ResponseReader
from gateway.http1.write_queue import write_queue_of

_WRITE_CHUNK_BYTES = 256 * 1024
"""A longer body is written in chunks of this size, so that the event loop can serve other requests in between."""

_TIMER_TOLERANCE = 0.001
"""Seconds by which a timer of uvloop may fire early: libuv keeps time in whole milliseconds."""


class ConnectionClosed(Exception):
    """The connection closed before the first byte of a response."""


class IncompleteResponse(Exception):
    """The connection closed in the middle of a response."""


class ReadTimeout(TimeoutError):
    """No data arrived within the read timeout."""


class Connection(asyncio.Protocol):
    """A connection to one server. It carries one request at a time, without pipelining.

    Args:
        loop: the running event loop.
        on_idle: called when the connection can take the next request.
        on_closing: called when the connection can take no further request; it may be called more than once.
    """

    __slots__ = (
        "_deadline",
        "_drain_waiter",
        "_is_lost",
        "_last_data_at",
        "_loop",
        "_on_closing",
        "_on_idle",
        "_read_timeout",
        "_reader",
        "_request_sent",
        "_request_started",
        "_timer",
        "_transport",
        "_waiter",
        "_write_paused",
        "_write_queue",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_idle: Callable[[Connection], None],
        on_closing: Callable[[Connection], None],
    ) -> None:
        self._loop = loop
        self._write_queue = write_queue_of(loop)
        self._reader = ResponseReader(0)  # Each exchange sets its own limit.
        self._on_idle = on_idle
        self._on_closing = on_closing
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[Any] | None = None
        self._drain_waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_lost = self._write_paused = self._request_started = self._request_sent = False

    async def exchange(
        self, head: bytes, body: bytes, deadline: float, read_timeout: float, max_body_bytes: int
    ) -> RawResponse:
        """Send a request and wait for its response. After an error the connection is closed.

        An error answer (status 300 and up) that cannot be had whole is returned without its body.

        Args:
            head: request line and headers, up to and including the empty line.
            body: the bytes after the head; may be empty.
            deadline: when to give up, in the event loop's time (seconds).
            read_timeout: seconds without any data after which to give up.
            max_body_bytes: largest acceptable response body.

        Raises:
            ConnectionClosed: it closed before the response began; on a reused connection the request can be sent again.
            IncompleteResponse: it closed in the middle of the response.
            ProtocolError: the server sent something other than an HTTP response, or too much beside its body.
            BodyTooLarge: the response body is over the limit.
            ReadTimeout: no data arrived for `read_timeout` seconds.
            TimeoutError: the deadline has passed.
            ssl.SSLError: TLS failed.
        """
        if self._is_lost:
            raise ConnectionClosed
        self._waiter = waiter = self._loop.create_future()
        self._request_sent = self._request_started = False
        self._reader.max_body_bytes = max_body_bytes
        self._deadline, self._read_timeout, self._last_data_at = deadline, read_timeout, self._loop.time()
        if self._timer is None or self._timer.when() > min(deadline, self._last_data_at + read_timeout):
            self._set_timer()
        try:
            await self._send(head, body)
            response: RawResponse = await waiter
            return response
        finally:
            if self._waiter is waiter:
                self._waiter = None
                self.close()
            if waiter.done() and not waiter.cancelled():
                # Mark the exception as retrieved: asyncio logs it otherwise when the task was cancelled as well.
                waiter.exception()
            # Its exception refers to this frame, and so to the request body: break the cycle now instead of keeping
            # the body in memory until the garbage collector runs.
            del waiter

    def close(self) -> None:
        """Close at once. A request that is in progress fails."""
        self._on_closing(self)
        self._fail(IncompleteResponse() if self._reader.has_started else ConnectionClosed())
        self._transport.abort()

    async def _send(self, head: bytes, body: bytes) -> None:
        if len(body) <= _WRITE_CHUNK_BYTES:
            self._write_queue.enqueue(self._write, self._waiter, head, body)
            return
        self._request_started = True
        self._transport.write(head)
        rest = memoryview(body)
        while rest and self._awaits_response():
            self._transport.write(rest[:_WRITE_CHUNK_BYTES])
            rest = rest[_WRITE_CHUNK_BYTES:]
            await self._drain()
            # A server that is still reading the request is not silent, so the read timeout starts over.
            self._last_data_at = self._loop.time()
        self._request_sent = not rest

    def _write(self, waiter: asyncio.Future[RawResponse] | None, head: bytes, body: bytes) -> None:
        # The queue calls this later: by then the request may have been cancelled and another one begun.
        if self._waiter is not waiter or not self._awaits_response() or self._transport.is_closing():
            return
        self._request_started = self._request_sent = True
        if body:
            self._transport.writelines((head, body))
        else:
            # asyncio's own event loop never finishes a `writelines` that contains an empty chunk.
            self._transport.write(head)

    def _awaits_response(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    async def _drain(self) -> None:
        """Wait until the transport accepts more data or the request is over; always lets other tasks run."""
        if self._write_paused:
            self._drain_waiter = self._loop.create_future()
            await self._drain_waiter
        else:
            await asyncio.sleep(0)

    def _set_timer(self) -> None:
        """Set the timer to the next timeout.

        A timer is not cancelled when a request ends: the next request uses it again if it fires early enough. That
        saves two calls of the event loop per request.
        """
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(min(self._deadline, self._last_data_at + self._read_timeout), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = self._loop.time() + _TIMER_TOLERANCE
        if self._waiter is None:
            return
        if now >= self._deadline:
            self._fail(TimeoutError())
        elif now >= self._last_data_at + self._read_timeout:
            self._fail(ReadTimeout())
        else:
            self._set_timer()

    def _fail(self, error: Exception) -> None:
        """End the request with an error; or with an error answer that had begun, whose status says more than ours."""
        if self._waiter is not None and not self._waiter.done():
            answer = self._reader.error_without_body()
            if answer is None:
                self._waiter.set_exception(error)
            else:
                self._waiter.set_result(answer)
        self._end_drain()

    def _complete(self) -> None:
        """Hand over the response, then offer the connection for reuse or close it."""
        waiter, self._waiter, self._request_started = self._waiter, None, False
        reusable = self._reader.reusable and self._request_sent
        if waiter is not None and not waiter.done():
            waiter.set_result(self._reader.pop_response())
        self._end_drain()
        if reusable:
            self._on_idle(self)
        else:
            self.close()

    def _end_drain(self) -> None:
        if self._drain_waiter is not None and not self._drain_waiter.done():
            self._drain_waiter.set_result(None)

    # The methods of asyncio.Protocol, called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream protocol gets an asyncio.Transport

    def data_received(self, data: bytes) -> None:
        if not self._request_started or not self._awaits_response():
            # Data without a request, or before it was sent, cannot be matched to a request (RFC 9112 section 9.2).
            self.close()
            return
        self._last_data_at = self._loop.time()
        try:
            if self._reader.feed(data):
                self._complete()
        except (ProtocolError, BodyTooLarge) as error:
            self._fail(error)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._end_drain()

    def eof_received(self) -> None:
        self._on_closing(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._is_lost = True
        self._on_closing(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._waiter is not None:
            self._complete_or_fail(error)
        self._reader.close()

    def _complete_or_fail(self, error: Exception | None) -> None:
        if error is None and self._reader.ends_with_connection():
            self._complete()
        elif self._reader.has_started:
            self._fail(IncompleteResponse())
        else:
            self._fail(error if isinstance(error, ssl.SSLError) else ConnectionClosed())
