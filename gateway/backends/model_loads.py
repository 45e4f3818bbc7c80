"""Loads local models in daemon threads. A load cannot be stopped: one that was given up is taken on or cleared away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.backends.daemon_thread import in_daemon
from providers.spec import LocalModel
from providers.types import ClosableBackend

OpenModel = Callable[[LocalModel], ClosableBackend]
Load = asyncio.Task[ClosableBackend]


class ModelLoads:
    """The loads that nobody waits for.

    A load whose caller was cancelled goes on. Who wants the same model meanwhile gets that load, so that a
    configuration that changes again and again does not fill the memory with copies; else the model is closed when it is
    there.
    """

    def __init__(self) -> None:
        self._abandoned: list[tuple[OpenModel, LocalModel, Load]] = []
        self._closing: set[asyncio.Task[None]] = set()

    async def open(self, open_model: OpenModel, model: LocalModel) -> ClosableBackend:
        """Load a model without blocking the event loop. Raises what `open_model` raises."""
        load = self._take_on(open_model, model) or asyncio.create_task(in_daemon(open_model, model))
        try:
            return await asyncio.shield(load)
        except asyncio.CancelledError:
            self._abandoned.append((open_model, model, load))
            load.add_done_callback(self._clear_away)
            raise

    def _take_on(self, open_model: OpenModel, model: LocalModel) -> Load | None:
        for entry in self._abandoned:
            if entry[:2] == (open_model, model) and not entry[2].done():
                self._abandoned.remove(entry)
                return entry[2]
        return None

    def _clear_away(self, load: Load) -> None:
        if not any(entry[2] is load for entry in self._abandoned):
            return
        self._abandoned = [entry for entry in self._abandoned if entry[2] is not load]
        if not load.cancelled() and load.exception() is None:
            closing = asyncio.ensure_future(load.result().aclose())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
