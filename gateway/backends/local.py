"""A local model as a backend: first loading, then ready, or failed for good."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic

from providers.errors import NotReady, RerankError
from providers.spec import LocalModel
from providers.types import ClosableBackend, EngineStats, Ranking, RerankRequest, ScoreSpace

logger = logging.getLogger(__name__)


class LocalBackend:
    """A backend that exists before its model is loaded. Until then it raises NotReady, so that fallbacks serve.

    Args:
        open_model: loads a model without blocking the event loop, and returns it as a backend.
        model: the settings of the model.

    Attributes:
        failure: why the model cannot be loaded; None unless that was tried and failed.
    """

    def __init__(self, open_model: Callable[[LocalModel], Awaitable[ClosableBackend]], model: LocalModel) -> None:
        self.model = model
        self.failure: str | None = None
        self._open = open_model
        self._backend: ClosableBackend | None = None
        self._lock = asyncio.Lock()
        self._closed_while_loading = False

    async def load(self) -> None:
        """Load the model, unless it is loaded. Concurrent calls load it once.

        Raises:
            NotReady: it cannot be loaded; the message says why.
        """
        async with self._lock:
            if self._backend is None:
                await self._load()

    async def _load(self) -> None:
        try:
            backend = await self._open(self.model)
        except Exception as error:
            is_expected = isinstance(error, RerankError)
            reason = error.message if isinstance(error, RerankError) else f"{type(error).__name__}: {error}"
            self.failure = f"local model {self.model.name} cannot be loaded: {reason}"
            if not is_expected:
                logger.error("unexpected error while local model %s was loaded", self.model.name, exc_info=error)
            raise NotReady(self.failure) from None
        if self._closed_while_loading:
            await backend.aclose()
        else:
            self._backend = backend

    async def rerank(self, request: RerankRequest) -> Ranking:
        """Rank with the model. Raises NotReady while it is not loaded, else what its own `rerank` raises."""
        if self._backend is None:
            raise NotReady(self.failure or f"local model {self.model.name} is still loading; try again shortly")
        start = monotonic()
        try:
            return await self._backend.rerank(request)
        finally:
            request.call.recorder.add_wait(start, monotonic())

    @property
    def has_loaded(self) -> bool:
        """Whether the model has been loaded once; its engine may have gone since."""
        return self._backend is not None

    def stats(self) -> EngineStats | None:
        """Queue depth and totals. None until the model is loaded, or if its backend does not report them."""
        read = getattr(self._backend, "stats", None)
        return read() if read is not None else None

    def score_space(self) -> ScoreSpace:
        """What the model's scores are; unknown until it is loaded."""
        space: ScoreSpace = getattr(self._backend, "score_space", "unknown")
        return space

    def window(self) -> int | None:
        """The model's context window in tokens. None while it is not known."""
        stats = self.stats()
        return stats.window if stats is not None else getattr(self._backend, "window", None)

    async def ready(self) -> bool:
        """Whether the model is loaded and works."""
        return self._backend is not None and await self._backend.ready()

    async def aclose(self) -> None:
        """Release the model; one that is being loaded, as soon as it is there."""
        self._closed_while_loading = self._lock.locked()
        if self._backend is not None:
            await self._backend.aclose()
