"""What is counted, and what a store answers when asked to count. The stores are in
`memory`, `memory_usage`, `valkey` and `valkey_usage`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
        """Add another's totals to these."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Charge(Struct, frozen=True):
    """An amount to be counted against one limit. Each kind has one of the durations.

    Attributes:
        kind: `window` (a rate over a sliding window), `budget` (money of one period), `concurrency` (requests at once).
        key: of the counter.
        limit: the counter never exceeds it.
        amount: to be reserved, or, when settling, to be added; 0 only looks. Of `concurrency` always one.
        window_seconds: of a window: its length.
        keep_seconds: of a budget: how long its counter is kept, at least until the period ends.
        hold_seconds: of concurrency: after so long a request whose host died no longer counts.
    """

    kind: Literal["window", "budget", "concurrency"]
    key: str
    limit: int
    amount: int
    window_seconds: float = 0.0
    keep_seconds: float = 0.0
    hold_seconds: float = 0.0


class ReserveResult(Struct):
    """A store's answer.

    Attributes:
        refused: index of the first charge that did not fit, with nothing reserved; -1 if all were.
        wait: seconds until the refused charge may fit; 0 where time does not help.
        left: what is left of each limit; empty if the store could not be asked.
        at: the store's own time, seconds since its epoch.
        holder_id: by which the store knows who counts against `concurrency`; "" where it need not know.
    """

    refused: int = -1
    wait: float = 0.0
    left: Sequence[int] = ()
    at: float = 0.0
    holder_id: str = ""


class Store(Protocol):
    """Where counters live. Charges are reserved all or none, and exactly, whoever else counts at the same moment."""

    async def reserve(self, charges: Sequence[Charge]) -> ReserveResult:
        """Reserve all charges or none. If it is cancelled, nothing stays reserved. Raises StoreDown."""
        ...

    async def settle(self, charges: Sequence[Charge], reserved: ReserveResult) -> None:
        """Add each amount, negative too, to what was reserved then; a holder of `concurrency` is released.

        Never raises. If it is cancelled, the store still settles.
        """
        ...

    async def aclose(self) -> None:
        """Release what is held."""
        ...


class UsageBatch(Struct, frozen=True):
    """Usage to be added to what a store has.

    Attributes:
        id: by which a store knows a batch that is sent again; it is never another's.
        rows: what to add.
    """

    id: str
    rows: Mapping[Row, UsageTotals]


class UsageStore(Protocol):
    """Where usage lives. Nothing here holds up a `Store`."""

    async def add(self, batch: UsageBatch) -> None:
        """Add a batch, once, however often it is sent. Raises StoreDown: it may have been added, so send it again."""
        ...

    async def keys(self, day: str) -> Collection[str]:
        """The names of the keys that used anything on one day, in any order. Raises StoreDown."""
        ...

    async def totals(self, day: str, key: str) -> dict[str, UsageTotals]:
        """What one key used on one day, by model. Raises StoreDown."""
        ...

    async def aclose(self) -> None:
        """Release what is held."""
        ...
