"""A local model from the start of the gateway on: loading in a thread, then ready, or failed for good."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic

from gateway.threads import in_daemon
from providers.errors import NotReady, RerankError
from providers.spec import LocalModel
from providers.types import Backend, Load, Ranking, RerankRequest

logger = logging.getLogger(__name__)


class Loading:
    """A backend that exists before its model is loaded. Until then it raises NotReady, which falls back."""

    def __init__(self, open_model: Callable[[LocalModel], Backend], model: LocalModel) -> None:
        self.model = model
        self.failure: str | None = None
        self._open = open_model
        self._backend: Backend | None = None
        self._lock = asyncio.Lock()

    async def load(self) -> None:
        """Load the model, once, without blocking the event loop. Raises NotReady, saying why, if that fails."""
        async with self._lock:
            if self._backend is None:
                await self._load()

    async def _load(self) -> None:
        try:
            self._backend = await in_daemon(self._open, self.model)
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
            request.call.waits.append((start, monotonic()))

    def load_of(self) -> Load | None:
        """What the model has to do and has done; None while it is not loaded, or where it does not tell."""
        tell = getattr(self._backend, "load", None)
        return tell() if tell is not None else None

    async def ready(self) -> bool:
        return self._backend is not None and await self._backend.ready()

    async def aclose(self) -> None:
        if self._backend is not None:
            await self._backend.aclose()
