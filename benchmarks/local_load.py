"""The local engine under load: many callers, large requests, a saturated queue; parts of benchmarks/local.py."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import json
import resource
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.livez import livez_under_load, spread
from benchmarks.local_setup import QUERY, documents, interleaved, measure, median, open_backend, rank
from providers.errors import Overloaded
from providers.types import ClosableBackend

WARM_UP_WAVES, MEASURED_WAVES = 16, 16
"""Waves until nearly every shape of a batch has occurred and is compiled, and waves that are measured after them."""


async def callers(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """16 callers of 10 documents at once against one caller with 160."""
    backend = open_backend(options, model)
    texts = documents(options, 160)

    async def many() -> None:
        await asyncio.gather(*(rank(backend, texts[n : n + 10], f"{QUERY} {n // 10:02}") for n in range(0, 160, 10)))

    figures = await interleaved({"one of 160": lambda: rank(backend, texts), "16 of 10": many}, options.rounds)
    await backend.aclose()
    rates = {name: 160 / own["wall"] for name, own in figures.items()}
    ratio = rates["16 of 10"] / rates["one of 160"]
    cpu = figures["one of 160"]["cpu"] / figures["16 of 10"]["cpu"]
    print("".join(f"  {name}: {rate:.0f} documents/s\n" for name, rate in rates.items()), end="")
    print(f"  throughput kept: {ratio:.2f} (by CPU time {cpu:.2f})")
    return {"documents_per_s": rates, "kept": ratio, "kept_by_cpu": cpu}


async def fair(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """A 5-document request, idle and while a 1,000-document request runs."""
    backend = open_backend(options, model)
    small, huge = documents(options, 5, seed=1), documents(options, 1000, seed=2)

    async def latency(number: int) -> float:
        return (await measure(lambda: rank(backend, small, f"{QUERY} {number}")))[0]

    await latency(0)
    idle = [await latency(number) for number in range(1, 16)]
    running = asyncio.create_task(measure(lambda: rank(backend, huge)))
    await asyncio.sleep(0.3)
    busy: list[float] = []
    while not running.done() and len(busy) < 60:
        busy.append(await latency(100 + len(busy)))
    total = (await running)[0]
    await backend.aclose()
    result = {
        "idle_s": median(idle),
        "busy_s": median(busy),
        "busy_max_s": max(busy),
        "huge_s": total,
        "samples": len(busy),
    }
    result["times"] = result["busy_s"] / result["idle_s"]
    print(
        f"  idle {median(idle) * 1e3:.0f} ms, busy {median(busy) * 1e3:.0f} ms (largest {max(busy) * 1e3:.0f})", end=""
    )
    print(f", times {result['times']:.2f}; the huge request took {total:.1f} s, {len(busy)} small ones beside it")
    return result


async def lag(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """How late the event loop is while the engine is saturated: the least delay of any other request here."""
    backend = open_backend(options, model)
    await rank(backend, documents(options, 5))
    running = asyncio.gather(*(rank(backend, documents(options, 200, seed=n), f"{QUERY} {n}") for n in range(4)))
    late = []
    while not running.done():
        due = time.perf_counter() + 0.005
        await asyncio.sleep(0.005)
        late.append(time.perf_counter() - due)
    await running
    await backend.aclose()
    result = spread(late)
    print("  p50 {p50_s:.4f} s, p99 {p99_s:.4f} s, largest {max_s:.4f} s of {samples}".format(**result))
    return result


async def livez(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """GET /livez of a running gateway, every 5 ms, while 4 callers of 200 documents keep its engine saturated."""
    settings = {"path": str(model), "device": options.device} | (
        {"threads": options.threads} if options.threads else {}
    )
    content = [bodies(options, caller) for caller in range(4)]
    return await asyncio.to_thread(livez_under_load, settings, content)


def bodies(options: argparse.Namespace, caller: int) -> list[bytes]:
    """Requests of 200 documents, each with a query of its own, so that no answer can be reused."""
    texts = documents(options, 200, seed=caller)
    queries = (f"{QUERY} {caller} {number}" for number in range(50))
    return [json.dumps({"model": "local/m", "query": query, "documents": texts}).encode() for query in queries]


async def full(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """The queue at its limit of 20,000 tokens: waves of 100 callers with new documents, and the memory after each."""
    backend = open_backend(options, model, queue_tokens=20_000)
    outcomes: Counter[str] = Counter()
    memory = [resident_mib()]
    for number in range(WARM_UP_WAVES + MEASURED_WAVES):
        outcomes += await wave(options, backend, 100 * number)
        memory.append(resident_mib())
    refused = await overflow(options, backend)
    await backend.aclose()
    growth = [after - before for before, after in pairwise(memory)]
    result = {"outcomes": dict(outcomes), "growth_MiB": growth, "refused": refused}
    print_memory(result)
    return result


def print_memory(result: dict[str, Any]) -> None:
    """Print how memory grew from wave to wave."""
    growth = result["growth_MiB"]
    print(f"  {result['outcomes']}")
    print("  MiB more after each wave: " + " ".join(f"{own:+.1f}" for own in growth))
    print(
        f"  first {WARM_UP_WAVES} waves {sum(growth[:WARM_UP_WAVES]):+.1f} MiB, the {MEASURED_WAVES} after them", end=""
    )
    print(f" {sum(growth[WARM_UP_WAVES:]):+.1f} MiB; all refused: {result['refused']}")


async def wave(options: argparse.Namespace, backend: ClosableBackend, first: int) -> Counter[str]:
    """100 concurrent requests of 10 documents, counted by outcome."""
    texts = [documents(options, 10, seed=number) for number in range(first, first + 100)]
    calls = (outcome(backend, own, f"{QUERY} {first + number}") for number, own in enumerate(texts))
    return Counter(await asyncio.gather(*calls))


async def outcome(backend: ClosableBackend, texts: list[str], query: str) -> str:
    """ "served", or the status of the refusal."""
    try:
        await rank(backend, texts, query)
    except Overloaded as error:
        return "429" if error.retry_after else "429 without Retry-After"
    return "served"


async def overflow(options: argparse.Namespace, backend: ClosableBackend) -> dict[str, Any]:
    """400 requests while one request fills the queue: their outcomes, and how much memory grew."""
    running = asyncio.create_task(rank(backend, documents(options, 1000)))
    await asyncio.sleep(1)
    before, outcomes = resident_mib(), Counter[str]()
    for number in range(4):
        outcomes += await wave(options, backend, 10_000 + 100 * number)
    growth = resident_mib() - before
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return {"outcomes": dict(outcomes), "growth_MiB": round(growth, 1)}


def resident_mib() -> float:
    """The resident memory of this process in MiB, after the C library has returned freed blocks to the kernel."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
