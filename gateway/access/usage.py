"""Usage by day, key and model: gathered in this process, and written to the store every second."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from datetime import date, timedelta
from itertools import count, islice
from operator import itemgetter
from uuid import uuid4

from msgspec import Struct

from gateway.access.counters import Row, UsageBatch, UsageStore, UsageTotals
from gateway.access.prices import NANO, tokens_of
from gateway.errors import StoreDown
from providers.types import Ranking, RerankRequest

FLUSH_SECONDS = 1.0
"""Seconds between two writes to the store: what a process that is killed can lose."""

BATCH_ROWS = 100
"""Rows written at once. A store works on one command at a time, so a larger one would hold up the taking of limits."""

READ_FLUSH_SECONDS = 1.0
"""Seconds for which a reader waits for what is still to be written."""

READ_SECONDS = 30.0
"""Seconds that one page may take to read."""

MAX_PAGE_ROWS = 1000
"""Rows that one answer has at most."""

MAX_ROWS = 100_000
"""Rows kept while the store is down; beyond that, usage of new rows is dropped, and counted in `lost`."""

MAX_MODELS = 1000
"""Models counted separately for one key and day: some upstreams take any name, and callers could invent them."""

OTHERS = "_other"
"""The name under which all further models are counted."""

_ALIAS_MARK = "\x1e"
"""Between a target and the alias by which it was asked for, in a stored row's name of the model."""

_EPOCH = date(1970, 1, 1).toordinal()


class UsageRow(Struct, omit_defaults=True, kw_only=True):
    """What one key used of one model on one day (UTC).

    Attributes:
        model: `provider/model` as it served; absent for failed requests, `_other` beyond a thousand names.
        alias: the name of the configuration that was asked for; absent where the request named `provider/model`.
        tokens: as providers counted them; answers that came without a count add nothing.
        cost: US dollars, of the answers whose price is known, absent if none is; see `unpriced_requests`.
    """

    date: str
    key: str
    model: str = ""
    alias: str = ""
    requests: int = 0
    failed_requests: int = 0
    unpriced_requests: int = 0
    documents: int = 0
    tokens: int = 0
    search_units: float = 0
    cost: float | None = None


class UsagePage(Struct, frozen=True):
    """Some rows of usage, by date, key and model.

    Attributes:
        rows: at most MAX_PAGE_ROWS.
        next: the last of them, after which to read on; None if there are no more.
    """

    rows: list[UsageRow]
    next: Row | None


class UsageLedger:
    """Gathers the usage of this process, and writes it to the store.

    Args:
        store: where it is written.
        clock: seconds since the epoch.

    Attributes:
        lost: requests whose usage was dropped, because too many rows were waiting for the store.
    """

    def __init__(self, store: UsageStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._waiting: dict[Row, UsageTotals] = {}
        self._unwritten: UsageBatch | None = None
        self._process = uuid4().hex
        self._batches = count()
        self._flushing = asyncio.Lock()
        self._models: dict[str, set[str]] = {}
        self._day_number = -1
        self._day = ""
        self.lost = 0

    def record(self, key: str, request: RerankRequest, outcome: Ranking | BaseException, alias: str = "") -> None:
        """Add one request to the usage of a key: answered, or else failed, which it also is if its caller hung up.

        `alias` is the name that was asked for, if it is one of the configuration.
        """
        if isinstance(outcome, Ranking):
            self._record_answer(key, request, outcome, alias)
            return
        totals = self._totals(key, "")
        totals.requests += 1
        totals.failed_requests += 1

    def _record_answer(self, key: str, request: RerankRequest, ranking: Ranking, alias: str) -> None:
        totals = self._totals(key, _joined(f"{ranking.provider}/{ranking.model}", alias))
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
        """Write what is waiting to the store, in batches; if it is down, keep the rest for the next time.

        A batch that may have been written is sent again as it was, by the same id, so that it is added once.
        """
        async with self._flushing:
            with suppress(StoreDown):
                await self._write_batch(0)
                for _ in range(0, len(self._waiting), BATCH_ROWS):
                    await self._write_batch(BATCH_ROWS)

    async def _write_batch(self, rows: int) -> None:
        """Write the batch that failed before, else one of so many rows that are waiting."""
        if self._unwritten is None:
            oldest = {row: self._waiting.pop(row) for row in list(islice(self._waiting, rows))}
            if not oldest:
                return
            self._unwritten = UsageBatch(f"{self._process}:{next(self._batches)}", oldest)
        await self._store.add(self._unwritten)
        self._unwritten = None

    async def run(self) -> None:
        """Flush every FLUSH_SECONDS, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def read(self, days: Sequence[str], key: str | None, after: Row | None = None) -> UsagePage:
        """The usage of some days, one page of it. Raises StoreDown.

        Args:
            days: in order.
            key: one key's, or None for all.
            after: the `next` of the page before.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(READ_FLUSH_SECONDS):
                await self.flush()
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await self._page(self._rows(days, key, after or ("", "", "")))
        except TimeoutError:
            raise StoreDown("the store of usage took too long; ask for fewer days", retry_after=READ_SECONDS) from None

    async def _page(self, pairs: AsyncGenerator[tuple[Row, UsageTotals], None]) -> UsagePage:
        rows, last = list[UsageRow](), None
        async with aclosing(pairs):
            async for row, totals in pairs:
                if len(rows) == MAX_PAGE_ROWS:
                    return UsagePage(rows, last)
                rows.append(usage(row, totals))
                last = row
        return UsagePage(rows, None)

    async def _rows(
        self, days: Sequence[str], key: str | None, after: Row
    ) -> AsyncGenerator[tuple[Row, UsageTotals], None]:
        for day in days[bisect_left(days, after[0]) :]:
            for name in [key] if key is not None else sorted(await self._store.keys(day)):
                if (day, name) < after[:2]:
                    continue
                for model, totals in sorted((await self._store.totals(day, name)).items(), key=itemgetter(0)):
                    if (day, name, model) > after:
                        yield (day, name, model), totals

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


def usage(row: Row, totals: UsageTotals) -> UsageRow:
    """A row as callers see it."""
    day, key, name = row
    model, alias = _split(name)
    priced = totals.requests - totals.failed_requests - totals.unpriced_requests
    return UsageRow(
        date=day,
        key=key,
        model=model,
        alias=alias,
        requests=totals.requests,
        failed_requests=totals.failed_requests,
        unpriced_requests=totals.unpriced_requests,
        documents=totals.documents,
        tokens=totals.tokens,
        search_units=totals.milli_searches / 1000 or 0,
        cost=totals.nano_usd / NANO if priced else None,
    )


def _joined(model: str, alias: str) -> str:
    """One name for both. Callers may have put the mark into a model's name, so that name then ends in another one."""
    return f"{model}{_ALIAS_MARK}{alias}" if alias or _ALIAS_MARK in model else model


def _split(name: str) -> tuple[str, str]:
    if _ALIAS_MARK not in name:
        return name, ""
    model, _, alias = name.rpartition(_ALIAS_MARK)
    return model, alias


def days_between(first: date, last: date) -> list[str]:
    """The labels of all days from first to last."""
    return [f"{first + timedelta(days=number):%Y-%m-%d}" for number in range((last - first).days + 1)]
