"""uvicorn's HTTP protocol, adapted: bounds on what a caller sends, and one answer for each request, in their order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.api.http import ANSWER, SingleWrite
from gateway.http1.write_queue import write_queue_of
from gateway.server import refusal
from gateway.server.half_close import HalfCloseWatch
from gateway.server.refusal import Refusal, RefusedError
from gateway.server.response import BoundedCycle, SingleWriteResponse

MAX_HEAD_BYTES = 65_536
"""Bytes of request line and headers. A head may be longer by the size of the read that its beginning came in."""

HEAD_SECONDS = 20.0
"""Seconds in which a head must be complete, from its first byte; for the first head, from the connection's start."""

MAX_FRAMING_BYTES = 65_536
"""Bytes that may come after the head without one of the body among them: a chunk's extensions, trailers. They may be
longer by the size of one read."""

BODY_SECONDS = 60.0
"""Seconds in which a body must be complete, from the end of its head."""

LINGER_SECONDS = 20.0
"""Seconds for which a connection is still read, and nothing of that used, after its last answer."""

STALLED_WRITE_SECONDS = 60.0
"""Seconds for which a caller may leave more than the transport's buffer unread."""


class BoundedProtocol(HttpToolsProtocol):
    """Bounds the time and the size of what a caller sends, and answers what is no valid request.

    uvicorn has no such limits, so a client could hold connections and memory ("slowloris"). A request that arrives in
    one read, as nearly all do, costs no timer. Answers leave in the order of their requests, refusals too.
    """

    _active: RequestResponseCycle | None = None
    """The request that is being answered, or was last; `cycle` is the newest one that has come."""
    _checked_headers: Sequence[tuple[bytes, bytes]] = ()
    """Those of `refusal.CHECKED` in the last head that was: on most connections they are all the same."""
    _in_head = False
    _head_bytes = 0
    _framing_bytes = 0
    _has_body = False
    """Whether some of a body came in this read."""
    _has_message_ended = False
    """Whether a request ended in this read: then it is not known where in it the next head began."""
    _has_offer = False
    """Whether the head that has just ended offers another protocol."""
    _is_over = False
    """What comes now is not read any more."""
    _is_stopping = False
    _refusal: Refusal | None = None
    """What is to be sent after the answers that are still owed."""
    _timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None
    _half_close: HalfCloseWatch | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        self._write_queue = write_queue_of(self.loop)
        self._start_timer(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.resume_writing()
        if self._half_close is not None:
            self._half_close.stop()
        self._tell_gone(self._active)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Stop after the current response. uvicorn takes one that is still in the write queue for sent, so flush it."""
        self._is_stopping = True
        self._write_queue.flush()
        super().shutdown()

    # What is read.

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        self._unset_keepalive_if_required()
        self._has_message_ended = self._has_body = False
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            self._refuse(self._refusal_for(error))
        else:
            self._bound_request(len(data))

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's has a result, which uvicorn leaves out
        """The caller sends no more. Keep the connection for the answers that it is still owed, where TCP allows it."""
        self._write_queue.flush()
        if self.scheme == "https" or not self._is_answering():
            return False
        self._is_over = True
        self._stop_timer()
        self._drop_incomplete()
        newest = self.pipeline[0][0] if self.pipeline else self._active
        if newest is not None:
            newest.keep_alive = False
        self._half_close = HalfCloseWatch(self.transport, lambda: self._active if self._is_answering() else None)
        return True

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        headers, version = [header for header in self.headers if header[0] in refusal.CHECKED], self._version()
        if headers != self._checked_headers or version != "1.1" or not headers:
            refusal.check_head(version, headers)
            self._checked_headers = headers
        self._in_head = False
        self._has_offer = self.parser.should_upgrade()
        if self._has_offer:
            refusal.check_method(self.parser.get_method())
            return
        if self._timer is not None:
            self._stop_timer()
        super().on_headers_complete()
        # What the parser adds from now on are trailers, which nobody reads (RFC 9110 section 6.5.1).
        self.headers = []
        self._framing_bytes = 0
        self._adapt(self.cycle)

    def on_body(self, body: bytes) -> None:
        self._has_body = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._has_offer:
            return
        self._has_message_ended = True
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    def _version(self) -> str:
        """HTTP's, such as `1.1`. In HTTP/1.0 nobody may be told to continue (RFC 9110 section 10.1.1)."""
        version: str = self.parser.get_http_version()
        if version == "1.0":
            self.expect_100_continue = False
        return version

    def _adapt(self, cycle: RequestResponseCycle) -> None:
        # uvicorn names the class itself, and leaves no other way to choose it. Nothing of the cycle has run yet.
        cycle.__class__ = BoundedCycle
        single_write: SingleWrite = SingleWriteResponse(cycle, self._write_queue)
        cycle.scope["extensions"] = {ANSWER: single_write}  # type: ignore[dict-item]  # typed as data only
        if not self.pipeline:
            self._active = cycle

    def _parse(self, data: bytes) -> None:
        """Parse what was read. An offer of another protocol is ignored (RFC 9110 section 7.8).

        The parser takes a head with an offer for the end of HTTP. So that head is parsed once more without the offer,
        by a new parser, which goes on with the body.
        """
        rest: bytes | memoryview = data
        while True:
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as offer:
                rest = memoryview(rest)[offer.args[0] :]
                head = self._head_without_offer()
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
                self.parser.feed_data(head)

    def _head_without_offer(self) -> bytes:
        lines = [b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        version = self.parser.get_http_version().encode("ascii")
        return b"%s %s HTTP/%s\r\n%s\r\n" % (self.parser.get_method(), self.url, version, b"".join(lines))

    # How long and how large a request may be.

    def _bound_request(self, byte_count: int) -> None:
        if self._in_head:
            self._head_bytes = 0 if self._has_message_ended else self._head_bytes + byte_count
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(refusal.head_too_large(MAX_HEAD_BYTES))
            else:
                self._start_timer(HEAD_SECONDS)
        elif self.cycle is None or self.cycle.response_complete:
            # Empty lines before a request line are ignored (RFC 9112 section 2.2), but the keep-alive timer has stopped
            # at them.
            self._start_timer(HEAD_SECONDS)
        elif self.cycle.more_body:
            self._bound_framing(byte_count)
        elif self._timer is not None:
            self._stop_timer()

    def _bound_framing(self, byte_count: int) -> None:
        self._framing_bytes = 0 if self._has_body else self._framing_bytes + byte_count
        if self._framing_bytes > MAX_FRAMING_BYTES:
            self._refuse(refusal.framing_too_large(MAX_FRAMING_BYTES))
        else:
            self._start_timer(BODY_SECONDS)

    def _start_timer(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(seconds, self._time_out)

    def _stop_timer(self) -> None:
        self._head_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_out(self) -> None:
        self._timer = None
        if self._is_answering():
            # Reading may pause meanwhile, and an answer that is owed must not be lost.
            self._start_timer(HEAD_SECONDS)
        elif self.cycle is not None and self.cycle.more_body:
            self._refuse(refusal.too_slow(BODY_SECONDS))
        else:
            self._write_queue.flush()  # A loop that is late runs this in the turn in which an answer was written.
            self.transport.close()

    # What cannot be served.

    def _refusal_for(self, error: httptools.HttpParserError) -> Refusal:
        cause = error.__context__
        if isinstance(cause, RefusedError):
            return cause.refusal
        if self._in_head and self.parser.get_method() == b"PRI":
            return refusal.HTTP_2
        return refusal.malformed("its target is invalid" if cause else str(error))

    def _refuse(self, reason: Refusal) -> None:
        """Answer so, after the answers to all requests before it, and close."""
        self._is_over = True
        self._stop_timer()
        self._refusal = reason
        self._drop_incomplete()
        if not self._is_answering():
            self._tell_gone(self._active)
            self._finish()

    def _send_refusal(self, reason: Refusal) -> None:
        active = self._active
        if active is None or active.response_complete or not active.response_started:
            self.transport.write(refusal.encode(reason, self._refused_headers()))

    def _refused_headers(self) -> refusal.Headers:
        """Those of the request that is refused, as far as it has come."""
        if self._in_head:
            return self.headers
        return self.cycle.scope["headers"] if self.cycle is not None and self.cycle.more_body else ()

    def _drop_incomplete(self) -> None:
        """Forget the newest request if it is not whole and nobody has begun to serve it."""
        if self.pipeline and self.pipeline[0][0].more_body:
            self.pipeline.popleft()

    @staticmethod
    def _tell_gone(cycle: RequestResponseCycle | None) -> None:
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    # What is answered.

    def _is_answering(self) -> bool:
        """Whether a request that is whole still waits for its answer."""
        active = self._active
        return active is not None and not (active.response_complete or active.more_body or active.disconnected)

    def on_response_complete(self) -> None:
        answered = self._active
        if self.pipeline:
            self._active = self.pipeline[-1][0]
        super().on_response_complete()
        is_last = answered is self._active and (self._is_over or (answered is not None and answered.more_body))
        if is_last and not self.transport.is_closing():
            self._finish()

    def _finish(self) -> None:
        """Send what is still to be said, and close so that the caller can read it.

        A socket that is closed with data unread resets the connection, which can destroy the answer on its way. So only
        our half is closed, and what still comes is read for a while (RFC 9112 section 9.6).
        """
        self._is_over = True
        self._stop_timer()
        self._unset_keepalive_if_required()
        self._write_queue.flush()
        if self._refusal is not None:
            self._send_refusal(self._refusal)
        if self._is_stopping or self._half_close is not None:
            self.transport.close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer = self.loop.call_later(STALLED_WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def timeout_keep_alive_handler(self) -> None:
        self._write_queue.flush()
        # What is still in the buffer after this time is not being read, and closing would wait for it.
        (self.transport.abort if self.transport.get_write_buffer_size() else self.transport.close)()
