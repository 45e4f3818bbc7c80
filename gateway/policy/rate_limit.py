"""A target whose rate is limited, whoever asks. Beyond the limit the next target is tried at once."""

from __future__ import annotations

from gateway.access import ticket
from gateway.access.counters import Store
from gateway.access.limits import Limit
from providers.types import Backend, Ranking, RerankRequest


class RateLimit:
    """A backend behind limits.

    Args:
        backend: what answers.
        store: where the limits are counted.
        limits: at least one.
    """

    def __init__(self, backend: Backend, store: Store, limits: tuple[Limit, ...]) -> None:
        self.backend = backend
        self._store = store
        self._limits = limits

    async def rerank(self, request: RerankRequest) -> Ranking:
        """Rank, if the limits allow it. Raises Limited."""
        taken = await ticket.reserve(self._store, self._limits, request)
        return await ticket.run_and_settle(self._store, taken, self.backend.rerank(request))

    async def ready(self) -> bool:
        return await self.backend.ready()

    async def aclose(self) -> None:
        await self.backend.aclose()
