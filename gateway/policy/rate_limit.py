"""Limit the rate of one target for all callers together. Beyond the limit the next target is tried at once."""

from __future__ import annotations

from gateway.access import reservation
from gateway.access.counters import Store
from gateway.access.limits import Limit
from gateway.policy.wrapper import Wrapper
from providers.types import Backend, Ranking, RerankRequest


class RateLimit(Wrapper):
    """A backend behind limits.

    Args:
        backend: what answers.
        store: where the limits are counted.
        limits: at least one.
    """

    def __init__(self, backend: Backend, store: Store, limits: tuple[Limit, ...]) -> None:
        super().__init__(backend)
        self._store = store
        self._limits = limits

    async def rerank(self, request: RerankRequest) -> Ranking:
        """Rank, if the limits allow it. Raises Limited and StoreDown."""
        reserved = await reservation.reserve(self._store, self._limits, request)
        try:
            ranking = await self.backend.rerank(request)
        except BaseException as error:
            await reserved.settle(error)
            raise
        await reserved.settle(ranking)
        return ranking
