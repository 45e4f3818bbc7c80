"""Who used what: figures by day, key and model, gathered here and handed to the store every moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta

from msgspec import Struct

from gateway.access.counters import Row, Store, UsageTotals
from gateway.access.prices import NANO, tokens_of
from gateway.errors import StoreDown
from providers.types import Ranking, RerankRequest

FLUSH_SECONDS = 1.0
"""How often figures go to the store: what a process that is killed can lose."""

MAX_ROWS = 100_000
"""Rows that wait while the store is down; beyond that, new ones are dropped and counted as lost."""

MAX_MODELS = 1000
"""Models of one key and day that are told apart: some upstreams take any name, and callers could invent them."""

OTHERS = "_other"
"""What the others are counted under."""

_EPOCH = date(1970, 1, 1).toordinal()


class UsageRow(Struct, omit_defaults=True, kw_only=True):
    """What one key used of one model on one day (UTC).

    Attributes:
        model: `provider/model` as it served; absent for failed requests, `_other` beyond a thousand names.
        tokens: as providers counted them; answers that came without a count add nothing.
        cost: US dollars, of the answers whose price is known, absent if none is; see `unpriced_requests`.
    """

    date: str
    key: str
    model: str = ""
    requests: int = 0
    failed_requests: int = 0
    unpriced_requests: int = 0
    documents: int = 0
    tokens: int = 0
    search_units: float = 0
    cost: float | None = None


class UsageLedger:
    """Gathers figures in this process.

    Args:
        store: gets them.
        clock: seconds since the epoch.

    Attributes:
        lost: notes dropped because too many were waiting for the store.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._waiting: dict[Row, UsageTotals] = {}
        self._flushing = asyncio.Lock()
        self._models: dict[str, set[str]] = {}
        self._day_number = -1
        self._day = ""
        self.lost = 0

    def served(self, key: str, request: RerankRequest, ranking: Ranking) -> None:
        """Note an answer."""
        figures = self._row(key, f"{ranking.provider}/{ranking.model}")
        figures.requests += 1
        figures.documents += len(request.documents)
        figures.tokens += tokens_of(ranking) or 0
        if ranking.usage and ranking.usage.search_units:
            figures.milli_searches += round(ranking.usage.search_units * 1000)
        if ranking.cost is None:
            figures.unpriced_requests += 1
        else:
            figures.nano_usd += round(ranking.cost * NANO)

    def failed(self, key: str) -> None:
        """Note a request that nothing served, or whose caller left."""
        figures = self._row(key, "")
        figures.requests += 1
        figures.failed_requests += 1

    async def flush(self) -> None:
        """Hand everything to the store; if it is down, keep it for the next time."""
        async with self._flushing:
            rows, self._waiting = self._waiting, {}
            if not rows:
                return
            try:
                await self._store.add(rows)
            except StoreDown:
                self._take_back(rows)

    async def run(self) -> None:
        """Flush every moment, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def read(self, days: Sequence[str], key: str | None) -> list[UsageRow]:
        """The usage of some days, of one key or of all. Raises StoreDown."""
        await self.flush()
        rows = await self._store.rows(days)
        return [usage(row, figures) for row, figures in sorted(rows.items()) if key is None or row[1] == key]

    def _row(self, key: str, model: str) -> UsageTotals:
        day = self._today()
        models = self._models.setdefault(key, set())
        if model not in models:
            if len(models) < MAX_MODELS:
                models.add(model)
            else:
                model = OTHERS
        row = (day, key, model)
        figures = self._waiting.get(row)
        if figures is None:
            figures = UsageTotals()
            if len(self._waiting) >= MAX_ROWS:
                self.lost += 1
            else:
                self._waiting[row] = figures
        return figures

    def _today(self) -> str:
        number = int(self._clock()) // 86_400
        if number != self._day_number:
            self._models.clear()
            self._day_number, self._day = number, f"{date.fromordinal(_EPOCH + number):%Y-%m-%d}"
        return self._day

    def _take_back(self, rows: dict[Row, UsageTotals]) -> None:
        for row, figures in self._waiting.items():
            rows.setdefault(row, UsageTotals()).add(figures)
        self._waiting = rows


def usage(row: Row, figures: UsageTotals) -> UsageRow:
    """A row as callers see it."""
    day, key, model = row
    priced = figures.requests - figures.failed_requests - figures.unpriced_requests
    return UsageRow(
        date=day,
        key=key,
        model=model,
        requests=figures.requests,
        failed_requests=figures.failed_requests,
        unpriced_requests=figures.unpriced_requests,
        documents=figures.documents,
        tokens=figures.tokens,
        search_units=figures.milli_searches / 1000 or 0,
        cost=figures.nano_usd / NANO if priced else None,
    )


def days_between(first: date, last: date) -> list[str]:
    """The labels of all days from first to last."""
    return [f"{first + timedelta(days=number):%Y-%m-%d}" for number in range((last - first).days + 1)]
