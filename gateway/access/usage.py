"""Usage by day, key and model: gathered in this process, and written to the store every second."""

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
"""Seconds between two writes to the store: what a process that is killed can lose."""

MAX_ROWS = 100_000
"""Rows kept while the store is down; beyond that, usage of new rows is dropped, and counted in `lost`."""

MAX_MODELS = 1000
"""Models counted separately for one key and day: some upstreams take any name, and callers could invent them."""

OTHERS = "_other"
"""The name under which all further models are counted."""

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
    """Gathers the usage of this process, and writes it to the store.

    Args:
        store: where it is written.
        clock: seconds since the epoch.

    Attributes:
        lost: requests whose usage was dropped, because too many rows were waiting for the store.
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

    def record(self, key: str, request: RerankRequest, outcome: Ranking | BaseException) -> None:
        """Add one request to the usage of a key: answered, or else failed, which it also is if its caller hung up."""
        if isinstance(outcome, Ranking):
            self._record_answer(key, request, outcome)
            return
        totals = self._totals(key, "")
        totals.requests += 1
        totals.failed_requests += 1

    def _record_answer(self, key: str, request: RerankRequest, ranking: Ranking) -> None:
        totals = self._totals(key, f"{ranking.provider}/{ranking.model}")
        totals.requests += 1
        totals.documents += len(request.documents)
        totals.tokens += tokens_of(ranking) or 0
        if ranking.usage and ranking.usage.search_units:
            totals.milli_searches += round(ranking.usage.search_units * 1000)
        if ranking.cost is None:
            totals.unpriced_requests += 1
        else:
            totals.nano_usd += round(ranking.cost * NANO)

    async def flush(self) -> None:
        """Write everything to the store; if it is down, keep it for the next time."""
        async with self._flushing:
            rows, self._waiting = self._waiting, {}
            if not rows:
                return
            try:
                await self._store.add(rows)
            except StoreDown:
                self._take_back(rows)

    async def run(self) -> None:
        """Flush every FLUSH_SECONDS, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def read(self, days: Sequence[str], key: str | None) -> list[UsageRow]:
        """The usage of some days, of one key or of all. Raises StoreDown."""
        await self.flush()
        rows = await self._store.rows(days)
        return [usage(row, totals) for row, totals in sorted(rows.items()) if key is None or row[1] == key]

    def _totals(self, key: str, model: str) -> UsageTotals:
        day = self._today()
        models = self._models.setdefault(key, set())
        if model not in models:
            if len(models) < MAX_MODELS:
                models.add(model)
            else:
                model = OTHERS
        row = (day, key, model)
        totals = self._waiting.get(row)
        if totals is None:
            totals = UsageTotals()
            if len(self._waiting) >= MAX_ROWS:
                self.lost += 1
            else:
                self._waiting[row] = totals
        return totals

    def _today(self) -> str:
        number = int(self._clock()) // 86_400
        if number != self._day_number:
            self._models.clear()
            self._day_number, self._day = number, f"{date.fromordinal(_EPOCH + number):%Y-%m-%d}"
        return self._day

    def _take_back(self, rows: dict[Row, UsageTotals]) -> None:
        for row, totals in self._waiting.items():
            rows.setdefault(row, UsageTotals()).add(totals)
        self._waiting = rows


def usage(row: Row, totals: UsageTotals) -> UsageRow:
    """A row as callers see it."""
    day, key, model = row
    priced = totals.requests - totals.failed_requests - totals.unpriced_requests
    return UsageRow(
        date=day,
        key=key,
        model=model,
        requests=totals.requests,
        failed_requests=totals.failed_requests,
        unpriced_requests=totals.unpriced_requests,
        documents=totals.documents,
        tokens=totals.tokens,
        search_units=totals.milli_searches / 1000 or 0,
        cost=totals.nano_usd / NANO if priced else None,
    )


def days_between(first: date, last: date) -> list[str]:
    """The labels of all days from first to last."""
    return [f"{first + timedelta(days=number):%Y-%m-%d}" for number in range((last - first).days + 1)]
