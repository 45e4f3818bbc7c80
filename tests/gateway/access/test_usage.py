"""Usage is added once, read in pages, and never in the way of the counters: in memory and with a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.access import usage
from gateway.access.counters import Charge, Row, UsageBatch, UsageStore, UsageTotals
from gateway.access.memory_usage import DAYS_KEPT, MemoryUsage
from gateway.access.usage import BATCH_ROWS, MAX_PAGE_ROWS, UsageLedger
from gateway.access.valkey import ValkeyStore
from gateway.access.valkey_usage import ValkeyUsage
from gateway.errors import StoreDown
from providers.types import Ranking, RerankRequest
from tests.gateway.access import servers

needs_server = pytest.mark.skipif(servers.binary() is None, reason="no valkey-server or redis-server on this machine")

DAY = "2026-11-20"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server, for this module."""
    with servers.server(tmp_path_factory.mktemp("valkey")) as (address, _):
        yield address


@pytest.fixture(params=["memory", pytest.param("valkey", marks=needs_server)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[UsageStore]:
    """An empty store."""
    if request.param == "memory":
        yield MemoryUsage()
        return
    opened = ValkeyUsage(request.getfixturevalue("url"))
    await opened._writer.redis.flushdb()
    yield opened
    await opened.aclose()


async def stored(store: UsageStore, *days: str) -> dict[Row, UsageTotals]:
    """Everything of some days."""
    return {
        (day, key, model): totals
        for day in days
        for key in await store.keys(day)
        for model, totals in (await store.totals(day, key)).items()
    }


async def test_usage_adds_up(store: UsageStore) -> None:
    row = (DAY, "team", "cohere/a b")
    for number in range(2):
        other = ("2026-11-19", "x", "")
        rows = {row: UsageTotals(requests=1, nano_usd=5), other: UsageTotals(failed_requests=1)}
        await store.add(UsageBatch(str(number), rows))
    assert await stored(store, DAY) == {row: UsageTotals(requests=2, nano_usd=10)}


@pytest.mark.parametrize("model", ["a\x1fb", "\x1f", "a/b\nc", "", "ü"], ids=ascii)
async def test_usage_of_whatever_a_caller_names_a_model_can_be_read(model: str, store: UsageStore) -> None:
    rows = {(DAY, "team", model): UsageTotals(requests=2, documents=3)}
    await store.add(UsageBatch("1", rows))
    assert await stored(store, DAY) == rows


@needs_server
async def test_a_name_that_is_no_unicode_is_written_all_the_same(url: str) -> None:
    store = ValkeyUsage(url)
    await store._writer.redis.flushdb()
    await store.add(UsageBatch("1", {(DAY, "team", "\ud800"): UsageTotals(requests=1)}))
    assert await stored(store, DAY) == {(DAY, "team", "?"): UsageTotals(requests=1)}
    await store.aclose()


@needs_server
async def test_a_batch_that_is_sent_again_is_added_once(url: str) -> None:
    store = ValkeyUsage(url)
    await store._writer.redis.flushdb()
    rows = {(DAY, "team", f"m{number}"): UsageTotals(requests=1) for number in range(BATCH_ROWS)}
    for _ in range(3):
        await store.add(UsageBatch("the same", rows))
    assert await stored(store, DAY) == rows
    await store.aclose()


async def test_memory_keeps_so_many_days() -> None:
    store = MemoryUsage()
    for day in range(DAYS_KEPT + 3):
        name = f"2026-{1 + day // 28:02}-{1 + day % 28:02}"
        await store.add(UsageBatch(str(day), {(name, "k", "m"): UsageTotals(requests=1)}))
    assert len(store._days) == DAYS_KEPT
    assert "2026-01-03" not in store._days


class Broken(MemoryUsage):
    """Fails as its script says: `lost` adds the batch but does not answer, `down` does neither, `well` does both."""

    def __init__(self, *script: str) -> None:
        super().__init__()
        self.script = list(script)
        self.batches: dict[str, int] = {}

    async def add(self, batch: UsageBatch) -> None:
        step = self.script.pop(0) if self.script else "well"
        if step != "down" and batch.id not in self.batches:
            await super().add(batch)
            self.batches[batch.id] = len(batch.rows)
        if step != "well":
            raise StoreDown("down")


def ranking(model: str) -> Ranking:
    return Ranking(results=[], provider="p", model=model)


REQUEST = RerankRequest(model="m", query="q", documents=["d"])

BREAKS = {
    "well": [],
    "down at first": ["down", "down"],
    "written but not acknowledged": ["lost"],
    "again and again": ["lost", "lost", "well", "down", "lost", "well", "lost"],
}


@pytest.mark.parametrize("script", BREAKS.values(), ids=BREAKS)
async def test_whatever_is_recorded_is_stored_once(script: list[str]) -> None:
    store = Broken(*script)
    ledger = UsageLedger(store)
    recorded = 0
    for _ in range(10):
        for number in range(250):
            ledger.record("team", REQUEST, ranking(f"m{number}"))
            recorded += 1
        await ledger.flush()
    day = ledger._day
    assert sum(totals.requests for totals in (await stored(store, day)).values()) == recorded
    assert max(store.batches.values()) == BATCH_ROWS


async def test_a_flush_ends_though_requests_go_on() -> None:
    class Busy(MemoryUsage):
        added = 0

        async def add(self, batch: UsageBatch) -> None:
            self.added += 1
            ledger.record("team", REQUEST, ranking("m"))
            await super().add(batch)

    store = Busy()
    ledger = UsageLedger(store)
    ledger.record("team", REQUEST, ranking("m"))
    await ledger.flush()
    assert store.added == 1


async def test_a_flush_cancelled_while_it_writes_loses_nothing() -> None:
    writing = asyncio.Event()

    class Slow(Broken):
        async def add(self, batch: UsageBatch) -> None:
            await super().add(batch)
            if not writing.is_set():
                writing.set()
                await asyncio.Event().wait()

    store = Slow()
    ledger = UsageLedger(store)
    ledger.record("team", REQUEST, ranking("m"))
    flushing = asyncio.create_task(ledger.flush())
    await writing.wait()
    flushing.cancel()
    await asyncio.gather(flushing, return_exceptions=True)
    await ledger.flush()
    assert await stored(store, ledger._day) == {(ledger._day, "team", "p/m"): UsageTotals(1, 0, 1, 1)}


async def test_pages_together_are_everything_in_order(store: UsageStore) -> None:
    ledger = UsageLedger(store)
    days = [f"2026-11-{number:02}" for number in range(10, 14)]
    rows = {
        (day, f"key{key}", f"m{model:03}"): UsageTotals(requests=1)
        for day in days
        for key in range(3)
        for model in range(MAX_PAGE_ROWS // 4 + 1)
    }
    for number, part in enumerate(_parts(rows)):
        await store.add(UsageBatch(str(number), part))
    found: list[Row] = []
    sizes = []
    after: Row | None = None
    while True:
        page = await ledger.read(days, None, after)
        found += [(row.date, row.key, row.model) for row in page.rows]
        sizes.append(len(page.rows))
        if page.next is None:
            break
        after = page.next
    assert found == sorted(rows)
    assert sizes == [MAX_PAGE_ROWS] * 3 + [len(rows) - 3 * MAX_PAGE_ROWS]


def _parts(rows: dict[Row, UsageTotals]) -> Iterator[dict[Row, UsageTotals]]:
    names = list(rows)
    for start in range(0, len(names), BATCH_ROWS):
        yield {name: rows[name] for name in names[start : start + BATCH_ROWS]}


async def test_invented_names_fill_no_memory() -> None:
    ledger = UsageLedger(MemoryUsage())
    for number in range(usage.MAX_MODELS + 50):
        ledger.record("team", REQUEST, ranking(f"m{number}"))
    ledger.record("other team", REQUEST, ranking("mine"))
    page = await ledger.read([ledger._day], None)
    rows = page.rows + (await ledger.read([ledger._day], None, page.next)).rows
    assert len(rows) == usage.MAX_MODELS + 2
    assert sum(row.requests for row in rows) == usage.MAX_MODELS + 51
    assert [row.requests for row in rows if row.model == usage.OTHERS] == [50]
    assert [row.model for row in rows if row.key == "other team"] == ["p/mine"]


@needs_server
async def test_much_usage_is_written_and_read_while_limits_are_taken(tmp_path: Path) -> None:
    """30 days of 60 keys and 6 models, read and written while a store with a short time limit takes from a limit."""
    days = [f"2026-{8 + number // 30:02}-{1 + number % 30:02}" for number in range(30)]
    rows = {
        (day, f"key{key}", f"p/m{model}"): UsageTotals(1, 1, 1, 1, 1, 1, 1)
        for day in days
        for key in range(60)
        for model in range(6)
    }
    charge = Charge("window", "w", 1_000_000, 1, window_seconds=60)
    failures: list[str] = []
    with servers.server(tmp_path) as (url, _):
        limits = ValkeyStore(url, 0.25, fail_open=False, failed=lambda: failures.append("limits"))
        store = ValkeyUsage(url, lambda: failures.append("usage"))
        ledger = UsageLedger(store)
        ledger._waiting = rows.copy()
        working = asyncio.create_task(_write_and_read(ledger, days))
        taken = 0
        while not working.done():
            taken += (await limits.reserve([charge])).refused < 0
        assert await working == len(rows)
        assert taken > 100
        assert failures == []
        await limits.aclose()
        await store.aclose()


async def _write_and_read(ledger: UsageLedger, days: list[str]) -> int:
    await ledger.flush()
    count, after = 0, None
    while True:
        page = await ledger.read(days, None, after)
        count += len(page.rows)
        if (after := page.next) is None:
            return count
