"""Limit the rate of one target for all callers together. Beyond the limit the next target is tried at once."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.access import reservation
from gateway.access.counters import Store
from gateway.access.limits import Limit
from gateway.errors import Limited, Skipped, StoreDown
from gateway.policy.wrapper import Wrapper
from providers.attempts import AttemptCounter
from providers.errors import Overloaded
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
        """Rank, if the limits allow it. Raises Limited and StoreDown.

        Every attempt is reserved for before it is made, those with a provider's further keys too.
        """
        reserved = await reservation.reserve(self._store, self._limits, request)

        async def reserve_another() -> bool:
            nonlocal reserved
            try:
                reserved = await reservation.reserve(self._store, self._limits, request)
            except (Limited, StoreDown):
                return False
            return True

        attempts = AttemptCounter(parent=request.call.attempts, permit_another=reserve_another)
        try:
            ranking = await self.backend.rerank(replace(request, call=replace(request.call, attempts=attempts)))
        except BaseException as error:
            await reserved.settle(error, was_called=attempts.count > 0 and not isinstance(error, (Overloaded, Skipped)))
            raise
        await reserved.settle(ranking)
        return ranking
