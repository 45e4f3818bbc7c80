"""Everything that is counted around one request: limits and budgets before, corrections and usage after."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from gateway.access import ticket
from gateway.access.counters import Store
from gateway.access.keys import Principal
from gateway.access.limits import Limit
from gateway.access.prices import Price, max_billable_chunks, max_tokens
from gateway.access.usage import UsageLedger
from gateway.errors import PriceUnknown
from providers.types import Ranking, RerankRequest

Headers = dict[str, str]
Names = Sequence[str]
Rank = Callable[[], Awaitable[Ranking]]


class Meter:
    """Counts for one configuration. The store and the ledger outlive it.

    Args:
        store: where counters live.
        ledger: where usage is noted; None where no key is asked for.
        limits: of each key by name; the gateway's own are in all of them.
        prices: of all targets that a name leads to; None where one is unknown.
    """

    def __init__(
        self,
        store: Store,
        ledger: UsageLedger | None,
        limits: Mapping[str, tuple[Limit, ...]],
        prices: Callable[[str], Sequence[Price | None]],
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._limits = limits
        self._prices = prices

    async def rerank(
        self, caller: Principal, request: RerankRequest, names: Names, rank: Rank
    ) -> tuple[Ranking, Headers]:
        """Rank if limits and budgets allow it.

        Args:
            caller: who asks.
            request: what is asked.
            names: the model and all its fallbacks.
            rank: does it.

        Returns:
            The ranking, and the headers that tell the caller what is left.

        Raises:
            Limited: one limit or the budget does not allow it; no target was asked.
            PriceUnknown: the caller has a budget, and one of the names no price.
            RerankError: as `rank` raises it.
        """
        limits = self._limits.get(caller.name, ())
        if not limits:
            return await self._noted(caller, request, rank), {}
        cost = self._most(request, names) if any(limit.unit == "usd" for limit in limits) else 0
        taken = await ticket.reserve(self._store, limits, request, cost)
        ranking = await ticket.run_and_settle(self._store, taken, self._noted(caller, request, rank))
        return ranking, taken.headers()

    async def _noted(self, caller: Principal, request: RerankRequest, rank: Rank) -> Ranking:
        if self._ledger is None:
            return await rank()
        try:
            ranking = await rank()
        except BaseException:
            self._ledger.failed(caller.name)
            raise
        self._ledger.served(caller.name, request, ranking)
        return ranking

    def _most(self, request: RerankRequest, names: Names) -> int:
        """What the request can cost at most, in nano-dollars, whichever of its targets serves."""
        pieces, tokens, most = max_billable_chunks(request), max_tokens(request), 0
        for name in names:
            for price in self._prices(name):
                if price is None:
                    raise PriceUnknown(
                        f'this key has a budget, and no price is known for "{name[:200]}"; '
                        "ask the operator to write one under `prices`"
                    )
                most = max(most, price.max_cost(pieces, tokens))
        return most
