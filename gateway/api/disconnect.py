"""Cancel a request whose caller has hung up.

A task that listens for the disconnect costs 5.5 us of CPU per request, a timer that is cancelled 1 us (measured). So we
only listen once a request has become slow enough for its cancellation to matter.
"""

from __future__ import annotations

import asyncio

from litestar.types import Receive

LISTEN_DELAY_SECONDS = 0.05
"""Seconds after which a request counts as slow."""


class DisconnectWatcher:
    """Cancels the current task, the one that creates it, when the caller hangs up.

    Attributes:
        gone: whether that happened, to tell it from other reasons for a cancellation.
    """

    __slots__ = ("_listener", "_loop", "_receive", "_serving", "_timer", "gone")

    def __init__(self, receive: Receive) -> None:
        self.gone = False
        self._receive = receive
        self._listener: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._serving = asyncio.current_task(self._loop)
        self._timer = self._loop.call_later(LISTEN_DELAY_SECONDS, self._listen)

    def stop(self) -> None:
        """Stop listening. Must be called when the request is done."""
        self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()

    def _listen(self) -> None:
        self._listener = self._loop.create_task(self._cancel_on_disconnect())

    async def _cancel_on_disconnect(self) -> None:
        message = await self._receive()
        if message["type"] == "http.disconnect" and self._serving is not None:
            self.gone = True
            self._serving.cancel()
