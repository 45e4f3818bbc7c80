"""A local model from the start of the gateway on: loading, then ready, or failed for good."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic

from providers.errors import NotReady, RerankError
from providers.spec import LocalModel
from providers.types import ClosableBackend, EngineStats, Ranking, RerankRequest

logger = logging.getLogger(__name__)


class LocalBackend:
    """A backend that exists before its model is loaded. Until then it raises NotReady, which falls back.

    Args:
        open_model: gives the loaded model, without blocking the event loop.
        model: which.
    """

    def __init__(self, open_model: Callable[[LocalModel], Awaitable[ClosableBackend]], model: LocalModel) -> None:
        self.model = model
        self.failure: str | None = None
        self._open = open_model
        self._backend: ClosableBackend | None = None
        self._lock = asyncio.Lock()

    async def load(self) -> None:
        """Load the model, once. Raises NotReady, saying why, if it cannot be served."""
        async with self._lock:
            if self._backend is None:
                await self._load()

    async def _load(self) -> None:
        try:
            self._backend = await self._open(self.model)
        except Exception as error:
            expected = isinstance(error, RerankError)
            reason = error.message if isinstance(error, RerankError) else f"{type(error).__name__}: {error}"
            self.failure = f"local model {self.model.name} cannot be loaded: {reason}"
            logger.error("%s", self.failure, exc_info=None if expected else error)
            raise NotReady(self.failure) from None

    async def rerank(self, request: RerankRequest) -> Ranking:
        if self._backend is None:
            raise NotReady(self.failure or f"local model {self.model.name} is still loading; try again shortly")
        start = monotonic()
        try:
            return await self._backend.rerank(request)
        finally:
            request.call.recorder.add_wait(start, monotonic())

    def stats(self) -> EngineStats | None:
        """What the model has to do and has done; None while it is not loaded, or where it does not tell."""
        tell = getattr(self._backend, "stats", None)
        return tell() if tell is not None else None

    def window(self) -> int | None:
        """How many tokens the model reads at once; None while that is not known."""
        load = self.stats()
        return load.window if load is not None else getattr(self._backend, "window", None)

    async def ready(self) -> bool:
        return self._backend is not None and await self._backend.ready()

    async def aclose(self) -> None:
        if self._backend is not None:
            await self._backend.aclose()
