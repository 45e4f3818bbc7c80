"""A way to a real store that can be made slow, be cut, or lead elsewhere, while a gateway uses it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class StorePath:
    """Forwards loopback connections to a server, on a thread of its own.

    Attributes:
        port: what to connect to.
        target: the port of the server to which new connections lead.
        delay: seconds by which each piece of an answer is late.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay = 0.0
        self.port = 0
        self._flows = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.listen()

    def listen(self) -> None:
        """Accept connections, on the same port as before."""
        self._do(self._listen)

    def refuse(self) -> None:
        """Cut all connections, and accept no more."""
        self._do(self._refuse)

    def stall(self, stalled: bool) -> None:
        """Hold answers back, or let them go on."""
        self._loop.call_soon_threadsafe(self._flows.clear if stalled else self._flows.set)

    def close(self) -> None:
        self._do(self._refuse)
        self._do(self._end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(60)

    async def _listen(self) -> None:
        self._flows.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            writer.transport.abort()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, questions = await asyncio.open_connection("127.0.0.1", self.target)
        self._open |= {writer, questions}
        try:
            await asyncio.gather(self._pass(reader, questions, late=False), self._pass(answers, writer, late=True))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._open -= {writer, questions}
            for side in (writer, questions):
                side.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, late: bool) -> None:
        while piece := await source.read(65_536):
            if late:
                await asyncio.sleep(self.delay)
                await self._flows.wait()
            sink.write(piece)
            await sink.drain()
        sink.close()
