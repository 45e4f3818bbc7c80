"""A caller that has ended its half of the connection: does it still wait for its answer, or has it gone?

Both send the same FIN, and TCP tells them apart only when something is sent: the system of a caller that has gone
answers that with a reset. What may be sent before the answer is an interim response, `100 Continue`, which every
HTTP/1.1 client must be able to read and ignore (RFC 9110 section 15.2). HTTP/1.0 has none, so such a caller counts as
waiting until a reset comes by itself.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

CHECK_SECONDS = 0.1
"""Seconds between two looks at the socket. Most callers that end their half have gone, and until it is known their
calls hold places. A quick answer is sent without any interim response."""

PROBE_CHECKS = frozenset({1, 10, 60, 300, 1500})
"""The looks at which an interim response is sent: after 0.1, 1, 6, 30 and 150 s. Go's client takes five, no more."""

_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


class HalfCloseWatch:
    """Aborts the connection once its caller turns out to have gone.

    Args:
        transport: that got end-of-file.
        answering: the request that is being answered now; None when there is none any more.
    """

    def __init__(self, transport: asyncio.Transport, answering: Callable[[], RequestResponseCycle | None]) -> None:
        self._transport = transport
        self._answering = answering
        self._checks = 0
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(CHECK_SECONDS, self._check)

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _check(self) -> None:
        cycle = self._answering()
        if cycle is None or self._transport.is_closing():
            return
        if self._is_reset():
            self._transport.abort()
            return
        self._checks += 1
        if self._checks in PROBE_CHECKS and cycle.scope["http_version"] == "1.1" and not cycle.response_started:
            self._transport.write(_INTERIM)
        self._timer = self._loop.call_later(CHECK_SECONDS, self._check)

    def _is_reset(self) -> bool:
        connection: socket.socket = self._transport.get_extra_info("socket")
        return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
