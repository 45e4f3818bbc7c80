"""What is counted, and what a store answers when asked to count. The stores are in `memory` and `valkey`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

SLOTS = 60
"""A window is counted in so many slots. One more is kept, so that no true window ever sees more than its limit."""

Row = tuple[str, str, str]
"""Day, key and model of some usage."""


class UsageTotals(Struct, omit_defaults=True):
    """What was used, in whole numbers, so that sums are exact."""

    requests: int = 0
    failed_requests: int = 0
    unpriced_requests: int = 0
    documents: int = 0
    tokens: int = 0
    milli_searches: int = 0
    nano_usd: int = 0

    def add(self, other: UsageTotals) -> None:
        """Add another's figures to these."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Charge(Struct, frozen=True):
    """An amount to be counted against one limit.

    Attributes:
        kind: `window` (a sliding window), `purse` (a budget of one period), `seats` (at once).
        key: of the counter.
        limit: what the counter never goes beyond.
        amount: to take; 0 only looks. A seat is always one.
        span: seconds: of the window; until a purse may be forgotten; after which a seat is taken back from a dead host.
    """

    kind: Literal["window", "purse", "seats"]
    key: str
    limit: int
    amount: int
    span: float


class ReserveResult(Struct):
    """A store's answer.

    Attributes:
        refused: index of the first charge that did not fit, with nothing taken; -1 if all were taken.
        wait: seconds until the refused charge may fit; 0 where time does not help.
        left: what is left of each limit; empty if the store could not be asked.
        at: the store's own time, seconds since its epoch.
    """

    refused: int = -1
    wait: float = 0.0
    left: Sequence[int] = ()
    at: float = 0.0


class Store(Protocol):
    """Where counters live. Charges are taken all or none, and exactly, whoever else counts at the same moment."""

    async def reserve(self, charges: Sequence[Charge], seat: str) -> ReserveResult:
        """Take all charges or none. `seat` names the seat to take. Raises StoreDown."""
        ...

    async def settle(self, charges: Sequence[Charge], seat: str, at: float) -> None:
        """Add each amount, negative too, to what was taken `at` that time; give the seat back. Never raises."""
        ...

    async def add(self, rows: Mapping[Row, UsageTotals]) -> None:
        """Add to the usage of some days. Raises StoreDown."""
        ...

    async def rows(self, days: Sequence[str]) -> dict[Row, UsageTotals]:
        """The usage of some days. Raises StoreDown."""
        ...

    async def aclose(self) -> None:
        """Release what is held."""
        ...
