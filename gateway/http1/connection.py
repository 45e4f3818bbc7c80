"""One HTTP/1.1 connection as a client uses it: a request goes out, its answer comes back whole."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from gateway.http1.response_reader import BodyTooLarge, ProtocolError, RawResponse, ResponseReader
from gateway.http1.write_queue import write_queue_of

_PIECE = 256 * 1024
"""Longer bodies go out in such pieces, so that the event loop serves others in between."""

_TICK = 0.001
"""Seconds by which the timers of uvloop may ring early."""


class ConnectionClosed(Exception):
    """The connection ended before any byte of an answer."""


class IncompleteResponse(Exception):
    """The connection ended in the middle of an answer."""


class ReadTimeout(TimeoutError):
    """Nothing came for as long as a read may take."""


class Connection(asyncio.Protocol):
    """Carries one exchange at a time.

    Args:
        loop: the running one.
        limit: bytes of the longest acceptable body.
        on_idle: called when the next exchange may begin.
        on_closing: called when no other exchange can begin any more; more than once, perhaps.
    """

    __slots__ = (
        "_begun",
        "_end",
        "_last_data_at",
        "_loop",
        "_lost",
        "_on_closing",
        "_on_idle",
        "_outbox",
        "_paused",
        "_read",
        "_reader",
        "_resumed",
        "_sent",
        "_timer",
        "_transport",
        "_waiter",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limit: int,
        on_idle: Callable[[Connection], None],
        on_closing: Callable[[Connection], None],
    ) -> None:
        self._loop = loop
        self._outbox = write_queue_of(loop)
        self._reader = ResponseReader(limit)
        self._on_idle = on_idle
        self._on_closing = on_closing
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[Any] | None = None
        self._resumed: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._lost = self._paused = self._begun = self._sent = False

    async def exchange(self, head: bytes, body: bytes, end: float, read: float) -> RawResponse:
        """Send a request and wait for its answer.

        Args:
            head: request line and headers, up to the empty line.
            body: what follows it.
            end: when to give up, in the event loop's time.
            read: seconds without any byte after which to give up.

        Raises:
            ConnectionClosed, IncompleteResponse, ProtocolError, BodyTooLarge, ReadTimeout, TimeoutError, ssl.SSLError:
                the connection is closed then.
        """
        if self._lost:
            raise ConnectionClosed
        self._waiter = waiter = self._loop.create_future()
        self._sent = self._begun = False
        self._end, self._read, self._last_data_at = end, read, self._loop.time()
        if self._timer is None or self._timer.when() > min(end, self._last_data_at + read):
            self._set_timer()
        try:
            await self._send(head, body)
            answer: RawResponse = await waiter
            return answer
        finally:
            if self._waiter is waiter:
                self._waiter = None
                self.close()
            if waiter.done() and not waiter.cancelled():
                waiter.exception()  # Or asyncio complains of it where the task was cancelled, too.
            # An error in it holds this frame, and the body with it: without this, until the collector runs.
            del waiter

    def close(self) -> None:
        """End it at once; an exchange that is under way fails."""
        self._on_closing(self)
        self._fail(IncompleteResponse() if self._reader.begun else ConnectionClosed())
        self._transport.abort()

    async def _send(self, head: bytes, body: bytes) -> None:
        if len(body) <= _PIECE:
            self._outbox.enqueue(self._write, self._waiter, head, body)
            return
        self._begun = True
        self._transport.write(head)
        rest = memoryview(body)
        while rest and self._waits():
            self._transport.write(rest[:_PIECE])
            rest = rest[_PIECE:]
            await self._drained()
            self._last_data_at = self._loop.time()  # A server that takes more is not silent.
        self._sent = not rest

    def _write(self, waiter: asyncio.Future[RawResponse] | None, head: bytes, body: bytes) -> None:
        if self._waiter is not waiter or not self._waits() or self._transport.is_closing():
            return
        self._begun = self._sent = True
        if body:
            self._transport.writelines((head, body))
        else:
            self._transport.write(head)  # The standard event loop never gets rid of an empty piece.

    def _waits(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    async def _drained(self) -> None:
        """Until there is room for more, or no more is needed; others run meanwhile in any case."""
        if self._paused:
            self._resumed = self._loop.create_future()
            await self._resumed
        else:
            await asyncio.sleep(0)

    def _set_timer(self) -> None:
        """Ring when time is up. A timer that is left over from an earlier exchange, as most are, is used again."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(min(self._end, self._last_data_at + self._read), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = self._loop.time() + _TICK
        if self._waiter is None:
            return
        if now >= self._end:
            self._fail(TimeoutError())
        elif now >= self._last_data_at + self._read:
            self._fail(ReadTimeout())
        else:
            self._set_timer()

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self._wake()

    def _done(self) -> None:
        waiter, self._waiter, self._begun = self._waiter, None, False
        reusable = self._reader.reusable and self._sent
        if waiter is not None and not waiter.done():
            waiter.set_result(self._reader.take())
        self._wake()
        if reusable:
            self._on_idle(self)
        else:
            self.close()

    def _wake(self) -> None:
        if self._resumed is not None and not self._resumed.done():
            self._resumed.set_result(None)

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # what a stream protocol is given

    def data_received(self, data: bytes) -> None:
        if not self._begun or not self._waits():
            self.close()  # Nobody asked, or not yet.
            return
        self._last_data_at = self._loop.time()
        try:
            if self._reader.feed(data):
                self._done()
        except (ProtocolError, BodyTooLarge) as error:
            self._fail(error)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    def eof_received(self) -> None:
        self._on_closing(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        self._on_closing(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._waiter is not None:
            self._lose(error)
        self._reader.close()

    def _lose(self, error: Exception | None) -> None:
        if error is None and self._reader.ends():
            self._done()
        elif self._reader.begun:
            self._fail(IncompleteResponse())
        else:
            self._fail(error if isinstance(error, ssl.SSLError) else ConnectionClosed())
