"""Admit a request before it is ranked, and settle what it used afterwards."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from msgspec import Struct

from gateway import blocking
from gateway.access import reservation
from gateway.access.counters import Store
from gateway.access.keys import Principal
from gateway.access.limits import Limit
from gateway.access.prices import NANO, Price, max_billable_chunks, max_tokens
from gateway.access.reservation import Headers, Outcome, Reservation
from gateway.access.usage import UsageLedger
from gateway.errors import PriceUnknown
from providers.types import Ranking, RerankRequest


class Admission(Struct, frozen=True):
    """Permission to rank one request. Whoever asked for it settles it, once, however the request ends.

    Attributes:
        caller: who asked.
        request: what was asked.
        ledger: where the usage is recorded; None if it is not.
        reservation: what was taken from the caller's limits; None if there are none.
        alias: the name that was asked for, if it is one of the configuration.
    """

    caller: Principal
    request: RerankRequest
    ledger: UsageLedger | None
    reservation: Reservation | None
    alias: str = ""

    async def settle(self, outcome: Outcome) -> None:
        """Record the usage, and correct the reservation. Raises nothing of its own."""
        if self.ledger is not None:
            self.ledger.record(self.caller.name, self.request, outcome, self.alias)
        if self.reservation is not None:
            await self.reservation.settle(outcome, further_cost=_further_cost(self.request, outcome))

    def headers(self) -> Headers:
        """The headers that tell the caller what is left."""
        return {} if self.reservation is None else self.reservation.headers()


def _further_cost(request: RerankRequest, outcome: Outcome) -> int:
    """Nano-dollars of what was, or may have been, billed beside the answer.

    These are attempts that failed, and those that went well for an answer that in the end was another, or none: a model
    that is made of others is asked several times.
    """
    attempts = request.call.recorder.attempts
    failures = [attempt for attempt in attempts if attempt.error]
    failures += [part for attempt in attempts if not attempt.error for part in attempt.parts if part.error]
    failed = sum(attempt.cost or 0.0 for attempt in failures)
    if isinstance(outcome, Ranking) and outcome.cost is None:
        return round(NANO * failed)
    served = outcome.cost or 0.0 if isinstance(outcome, Ranking) else 0.0
    went_well = sum(attempt.cost or 0.0 for attempt in attempts if not attempt.error)
    return round(NANO * (failed + max(0.0, went_well - served)))


class LimitLeft(Struct, frozen=True):
    """What is left of one limit.

    Attributes:
        owner, unit, words: as in Limit.
        maximum, left: of the unit; of money in nano-dollars.
    """

    owner: str
    unit: str
    words: str
    maximum: int
    left: int


class Meter:
    """Counts for one configuration. The store and the ledger outlive it.

    Args:
        store: where counters live.
        ledger: where the usage of keys is recorded; None where no key is asked for.
        limits: of each key by name; the gateway's own are in all of them. "" is for callers without a key.
        prices: of all targets that a name leads to; None where one is unknown.
        aliases: the names that the configuration gives a meaning.
    """

    def __init__(
        self,
        store: Store,
        ledger: UsageLedger | None,
        limits: Mapping[str, tuple[Limit, ...]],
        prices: Callable[[str], Sequence[Price | None]],
        aliases: Container[str] = (),
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._limits = limits
        self._prices = prices
        self._aliases = aliases

    async def admit(self, caller: Principal, request: RerankRequest, names: Sequence[str]) -> Admission:
        """Reserve what the request may use at most, from all limits or from none.

        Args:
            caller: who asks.
            request: what is asked.
            names: the model and all its fallbacks.

        Raises:
            Limited: a limit or the budget does not allow it.
            PriceUnknown: the caller has a budget, and one of the names has no price.
            StoreDown: the store cannot be asked, and the configuration says to refuse then.
        """
        ledger = self._ledger if caller.name else None
        alias = request.model if request.model in self._aliases else ""
        limits = self._limits.get(caller.name, ())
        if not limits:
            return Admission(caller, request, ledger, None, alias)
        has_budget = any(limit.unit == "usd" for limit in limits)
        cost = 0
        if has_budget:
            cost = await blocking.run(request.call.body_bytes, partial(self._max_cost, request, names))
        reserved = await reservation.reserve(self._store, limits, request, cost)
        return Admission(caller, request, ledger, reserved, alias)

    async def look(self, name: str) -> list[LimitLeft]:
        """What is left of a key's limits and budget, without taking anything. Raises StoreDown.

        How many of its requests are under way cannot be looked at.
        """
        limits = [limit for limit in self._limits.get(name, ()) if limit.unit != "concurrency"]
        if not limits:
            return []
        now = datetime.now(UTC)
        seen = await self._store.reserve([limit.charge(0, now) for limit in limits])
        return [
            LimitLeft(limit.owner, limit.unit, limit.words, limit.maximum, left)
            for limit, left in zip(limits, seen.left, strict=False)
        ]

    def _max_cost(self, request: RerankRequest, names: Sequence[str]) -> int:
        """The most that the request can cost, in nano-dollars, whichever of its targets serves."""
        chunks, tokens, highest = max_billable_chunks(request), max_tokens(request), 0
        for name in names:
            for price in self._prices(name):
                if price is None:
                    raise PriceUnknown(
                        f'this key has a budget, and no price is known for "{name[:200]}"; '
                        "ask the operator to add one under `prices`"
                    )
                highest = max(highest, price.max_cost(chunks, tokens))
        return highest
