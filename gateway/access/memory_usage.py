"""Usage in this process, gone with it."""

from __future__ import annotations

from collections.abc import Collection
from copy import copy

from gateway.access.counters import UsageBatch, UsageTotals

DAYS_KEPT = 32
"""Days of usage that a process remembers."""


class MemoryUsage:
    """Usage of one process, by day, key and model."""

    def __init__(self) -> None:
        self._days: dict[str, dict[str, dict[str, UsageTotals]]] = {}

    async def add(self, batch: UsageBatch) -> None:
        for (day, key, model), totals in batch.rows.items():
            models = self._days.setdefault(day, {}).setdefault(key, {})
            models.setdefault(model, UsageTotals()).add(totals)
        while len(self._days) > DAYS_KEPT:
            del self._days[min(self._days)]

    async def keys(self, day: str) -> Collection[str]:
        return list(self._days.get(day, ()))

    async def totals(self, day: str, key: str) -> dict[str, UsageTotals]:
        models = self._days.get(day, {}).get(key, {})
        return {model: copy(totals) for model, totals in models.items()}

    async def aclose(self) -> None:
        """Nothing is held."""
