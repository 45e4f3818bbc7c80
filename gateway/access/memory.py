"""Counters in this process. Exact for it alone, and gone with it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

from gateway.access.counters import SLOTS, Charge, ReserveResult


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
        self._holders: dict[str, int] = {}
        self._budgets: dict[str, tuple[float, int]] = {}

    async def reserve(self, charges: Sequence[Charge]) -> ReserveResult:
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

    async def settle(self, charges: Sequence[Charge], reserved: ReserveResult) -> None:
        for charge in charges:
            if charge.kind == "window":
                self._window(charge.key).correct(_slot(charge, reserved.at), charge.amount)
            else:
                self._add(charge, reserved.at)

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
            window.forget(_slot(charge, now))
            return window.total
        if charge.kind == "concurrency":
            return self._holders.get(charge.key, 0)
        return self._budgets.get(charge.key, (0.0, 0))[1]

    def _add(self, charge: Charge, now: float) -> None:
        if charge.kind == "window":
            self._window(charge.key).add(_slot(charge, now), charge.amount)
        elif charge.kind == "concurrency":
            self._holders[charge.key] = self._holders.get(charge.key, 0) + charge.amount
        else:
            self._spend(charge, now)

    def _spend(self, charge: Charge, now: float) -> None:
        if charge.key not in self._budgets:
            self._budgets = {key: budget for key, budget in self._budgets.items() if budget[0] > now}
        until, spent = self._budgets.get(charge.key, (now + charge.keep_seconds, 0))
        self._budgets[charge.key] = (until, spent + charge.amount)

    def _wait(self, charge: Charge, excess: int, now: float) -> float:
        if charge.kind != "window" or charge.amount > charge.limit:
            return 0.0
        slot = self._window(charge.key).slot_to_wait_for(excess)
        return (slot + SLOTS + 1) * charge.window_seconds / SLOTS - now


def _slot(charge: Charge, moment: float) -> int:
    """The slot of the charge's window that holds that moment."""
    return int(moment * SLOTS / charge.window_seconds)
