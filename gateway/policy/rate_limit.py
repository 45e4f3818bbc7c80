"""A target whose rate is limited, whoever asks. Beyond the limit the next target is tried at once."""

from __future__ import annotations

from gateway.access import ticket
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
        """Rank, if the limits allow it. Raises Limited."""
        taken = await ticket.reserve(self._store, self._limits, request)
        return await ticket.run_and_settle(self._store, taken, self.backend.rerank(request))
