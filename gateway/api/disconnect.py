"""Notice that a caller hung up while its ranking is being made, and stop making it.

Measured per request: a task that listens from the start costs 5.5 us of CPU, a timer that is cancelled 1 us. So the
listening begins only where a request has become slow enough for its cancellation to matter.
"""

from __future__ import annotations

import asyncio

from litestar.types import Receive

GRACE = 0.05
"""Seconds before anybody listens."""


class DisconnectWatcher:
    """Cancels the task that made it when the caller hangs up.

    Attributes:
        gone: the caller hung up, and the task was cancelled for that.
    """

    __slots__ = ("_listener", "_loop", "_receive", "_serving", "_timer", "gone")

    def __init__(self, receive: Receive) -> None:
        self.gone = False
        self._receive = receive
        self._listener: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._serving = asyncio.current_task(self._loop)
        self._timer = self._loop.call_later(GRACE, self._listen)

    def stop(self) -> None:
        """Listen no more."""
        self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()

    def _listen(self) -> None:
        self._listener = self._loop.create_task(self._disconnected())

    async def _disconnected(self) -> None:
        message = await self._receive()
        if message["type"] == "http.disconnect" and self._serving is not None:
            self.gone = True
            self._serving.cancel()
