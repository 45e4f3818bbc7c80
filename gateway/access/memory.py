"""Counters in this process. Exact for it alone, and gone with it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from copy import copy

from gateway.access.counters import SLOTS, Charge, ReserveResult, Row, UsageTotals

DAYS_KEPT = 32
"""Days of usage that a process remembers."""


class _Window:
    """A sliding window: amounts by slot, oldest first, and their sum."""

    __slots__ = ("slots", "total")

    def __init__(self) -> None:
        self.slots: deque[list[int]] = deque()
        self.total = 0

    def forget(self, now: int) -> None:
        while self.slots and self.slots[0][0] < now - SLOTS:
            self.total -= self.slots.popleft()[1]

    def add(self, slot: int, amount: int) -> None:
        self.total += amount
        if self.slots and self.slots[-1][0] == slot:
            self.slots[-1][1] += amount
        else:
            self.slots.append([slot, amount])

    def correct(self, slot: int, amount: int) -> None:
        for entry in reversed(self.slots):
            if entry[0] == slot:
                entry[1] += amount
                self.total += amount
                return

    def slot_to_wait_for(self, excess: int) -> int:
        """The slot whose passing frees that much."""
        for slot, amount in self.slots:
            excess -= amount
            if excess <= 0:
                return slot
        return self.slots[-1][0]


class MemoryStore:
    """Counters of one process.

    Args:
        clock: seconds, never running backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[str, _Window] = {}
        self._seats: dict[str, int] = {}
        self._purses: dict[str, tuple[float, int]] = {}
        self._rows: dict[Row, UsageTotals] = {}

    async def reserve(self, charges: Sequence[Charge], seat: str) -> ReserveResult:
        now = self._clock()
        left = []
        for index, charge in enumerate(charges):
            room = charge.limit - self._total(charge, now)
            if charge.amount > room:
                return ReserveResult(index, self._wait(charge, charge.amount - room, now), [max(0, room)], now)
            left.append(room - charge.amount)
        for charge in charges:
            self._add(charge, now)
        return ReserveResult(-1, 0.0, left, now)

    async def settle(self, charges: Sequence[Charge], seat: str, at: float) -> None:
        for charge in charges:
            if charge.kind == "window":
                self._window(charge.key).correct(int(at * SLOTS / charge.span), charge.amount)
            else:
                self._add(charge, at)

    async def add(self, rows: Mapping[Row, UsageTotals]) -> None:
        for row, figures in rows.items():
            self._rows.setdefault(row, UsageTotals()).add(figures)
        self._forget_days()

    async def rows(self, days: Sequence[str]) -> dict[Row, UsageTotals]:
        wanted = set(days)
        return {row: copy(figures) for row, figures in self._rows.items() if row[0] in wanted}

    async def aclose(self) -> None:
        """Nothing is held."""

    def _window(self, key: str) -> _Window:
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window()
        return window

    def _total(self, charge: Charge, now: float) -> int:
        if charge.kind == "window":
            window = self._window(charge.key)
            window.forget(int(now * SLOTS / charge.span))
            return window.total
        if charge.kind == "seats":
            return self._seats.get(charge.key, 0)
        return self._purses.get(charge.key, (0.0, 0))[1]

    def _add(self, charge: Charge, now: float) -> None:
        if charge.kind == "window":
            self._window(charge.key).add(int(now * SLOTS / charge.span), charge.amount)
        elif charge.kind == "seats":
            self._seats[charge.key] = self._seats.get(charge.key, 0) + charge.amount
        else:
            self._add_to_purse(charge, now)

    def _add_to_purse(self, charge: Charge, now: float) -> None:
        if charge.key not in self._purses:
            self._purses = {key: purse for key, purse in self._purses.items() if purse[0] > now}
        until, spent = self._purses.get(charge.key, (now + charge.span, 0))
        self._purses[charge.key] = (until, spent + charge.amount)

    def _wait(self, charge: Charge, excess: int, now: float) -> float:
        if charge.kind != "window" or charge.amount > charge.limit:
            return 0.0
        slot = self._window(charge.key).slot_to_wait_for(excess)
        return (slot + SLOTS + 1) * charge.span / SLOTS - now

    def _forget_days(self) -> None:
        days = sorted({row[0] for row in self._rows})
        if len(days) > DAYS_KEPT:
            gone = set(days[:-DAYS_KEPT])
            self._rows = {row: figures for row, figures in self._rows.items() if row[0] not in gone}
