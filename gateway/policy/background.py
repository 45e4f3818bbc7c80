"""Work that goes on beside the requests, from the start of what owns it to its end."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod


class BackgroundTask(ABC):
    """Runs `_run` in a task of its own, from `start` to `aclose`."""

    _task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin. Needs the running event loop."""
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Begin to stop."""
        if self._task is not None:
            self._task.cancel()

    async def aclose(self) -> None:
        """Stop, and wait until it has."""
        self.stop()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    @abstractmethod
    async def _run(self) -> None:
        """The work, until it is cancelled."""
