"""The costs that `rerank-gateway capacity` plans with, derived from the measurements, and tables of docs/capacity.md.

docs/performance.json    CPU time of a request, by its documents, busy and idle (`python -m benchmarks.gateway`)
docs/capacity.json       waking, the store, the caches, the check of the model (`python -m benchmarks.capacity`)
docs/local-engine.md     documents a second of the engine (`benchmarks/local.py`)

What the second file holds was measured on another machine, in turns with a gateway that always has something to do and
has neither store nor cache. So it is taken as shares of that gateway's CPU time, and these of what the first file says
of it.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from benchmarks import load

DOCS = Path(__file__).parent
BUSY = 32
"""Concurrency at which a worker always has something to do."""

COOLING = [milliseconds / 1000 for milliseconds in range(1, 101)]
"""Seconds in which an idle worker may lose its caches: among these the one is sought that fits best."""

ENGINES = {"minilm-l6-float32": "`dtype: float32`", "minilm-l6-bfloat16": "`dtype: auto` (bfloat16)"}
"""The rows of the table in docs/local-engine.md with the default batch."""

PAIRS = 100
"""Documents that each of its rows took to score."""


def costs() -> str:
    """gateway/capacity/costs.json."""
    return json.dumps(_costs(), indent=1) + "\n"


def _costs() -> dict[str, Any]:
    few, many = _cpu(10, BUSY), _cpu(100, BUSY)
    sizes = [_body_bytes(documents) for documents in (10, 100)]
    per_byte = (many - few) / (sizes[1] - sizes[0])
    waking = _measured()["waking"]
    wake, cold, cool = fit([Waking(**point) for point in waking["points"]])
    measured = _measured()["costs"]
    cpu = {name: ratio * _cpu(measured["documents"], BUSY) for name, ratio in measured["ratios"].items()}
    call = (cpu["two calls"] - cpu["plain"]) / 2
    in_memory, shared = (max(0.0, cpu[f"{kind} cache"] - cpu["plain"]) for kind in ("memory", "shared"))
    return {
        "request_us": round(few - per_byte * sizes[0], 1),
        "byte_ns": round(per_byte * 1000, 2),
        "wake_us": round(wake * _cpu(waking["documents"], BUSY), 1),
        "cold_us": round(cold * _cpu(waking["documents"], BUSY), 1),
        "cool_us": round(cool * 1e6),
        "store_call_us": round(call, 1),
        "valkey_call_us": round(cpu["valkey"] / 2, 1),
        "memory_document_us": round(in_memory / measured["documents"], 2),
        # A call looks up, and a call keeps.
        "shared_document_us": round(max(0.0, shared - 2 * call) / measured["documents"], 2),
        "engines": {name: round(PAIRS / _engine_seconds(row), 1) for name, row in ENGINES.items()},
    }


class Waking(Struct, frozen=True):
    """What requests cost at one rate.

    Attributes:
        rate: requests per second of a worker.
        busy: share of the time in which it had something to do.
        ratio: CPU time of a request, by that of one whose worker always has something to do.
    """

    rate: float
    busy: float
    ratio: float


def fit(points: Sequence[Waking]) -> tuple[float, float, float]:
    """What explains the points best, by least squares of relative errors.

    A share of 1 - busy of the requests finds the worker idle, which then was so for 1 / rate seconds on average.

    Returns:
        `wake_us` and `cold_us` of gateway.capacity.costs, by the cost of a request whose worker is never idle; and
        `cool_us`, in seconds.
    """
    candidates = [(*_solve(points, cool), cool) for cool in COOLING]
    return min(candidates, key=lambda each: sum((_ratio(each, point) / point.ratio - 1) ** 2 for point in points))


def _ratio(parameters: tuple[float, float, float], point: Waking) -> float:
    wake, cold, cool = parameters
    return 1 + (1 - point.busy) * (wake + cold / (1 + cool * point.rate))


def _solve(points: Sequence[Waking], cool: float) -> tuple[float, float]:
    """`wake` and `cold` for that `cool`: two unknowns of a linear least-squares problem, by its normal equations.

    Neither is below 0: where noise says so of one, it is 0 and the other is all. Raises ValueError for a single rate.
    """
    if len({point.rate for point in points}) < 2:
        raise ValueError("docs/capacity.json: `waking` needs several rates; measure it with --rates 50 100 500 1500")
    rows = [((1 - point.busy) / point.ratio, 1 / (1 + cool * point.rate), 1 - 1 / point.ratio) for point in points]
    a, b, c = (sum(idle**2 * cold**power for idle, cold, _ in rows) for power in (0, 1, 2))
    d, e = (sum(idle * cold**power * more for idle, cold, more in rows) for power in (0, 1))
    determinant = a * c - b * b
    wake, cold = (d * c - b * e) / determinant, (a * e - b * d) / determinant
    if wake < 0:
        return 0.0, max(0.0, e / c)
    return (wake, cold) if cold >= 0 else (max(0.0, d / a), 0.0)


def _measured() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DOCS / "capacity.json").read_text(encoding="utf-8"))
    return found


def _cpu(documents: int, concurrency: int) -> float:
    rows = json.loads((DOCS / "performance.json").read_text(encoding="utf-8"))["rows"]
    for row in rows:
        case = row["case"]
        if row["stack"] == "gateway" and (case["documents"], case["concurrency"]) == (documents, concurrency):
            return float(row["figures"]["cpu"])
    raise LookupError(f"docs/performance.json has no gateway with {documents} documents, concurrency {concurrency}")


def _body_bytes(documents: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return load.body(Path(folder), documents, None).stat().st_size


def _engine_seconds(row: str) -> float:
    """CPU seconds for all pairs, of the default batch."""
    page = (DOCS / "local-engine.md").read_text(encoding="utf-8")
    found = re.search(rf"^\| engine, {re.escape(row)}, 768\b[^|]*\| [\d,]+ \| ([\d,]+) \|", page, re.M)
    if found is None:
        raise LookupError(f"docs/local-engine.md has no row of {row} with a batch of 768 tokens")
    return int(found[1].replace(",", "")) / 1000


def costs_table() -> str:
    """What a plan is made of."""
    known = _costs()
    rows = [
        ("a request, without its bytes, at a worker that always has something to do", f"{known['request_us']:.0f} µs"),
        ("each byte of its body", f"{known['byte_ns']:.2f} ns"),
        ("waking an idle worker", f"{known['wake_us']:.0f} µs"),
        ("the same, after a long sleep, at most, besides", f"{known['cold_us']:.0f} µs"),
        ("a call of the store, of the gateway", f"{known['store_call_us']:.0f} µs"),
        ("the same call, of Valkey", f"{known['valkey_call_us']:.0f} µs"),
        ("a document in the cache, in memory", f"{known['memory_document_us']:.1f} µs"),
        ("a document in the shared cache, besides two calls of the store", f"{known['shared_document_us']:.1f} µs"),
        *((f"`engine: {name}`, a core", f"{speed:.0f} documents/s") for name, speed in known["engines"].items()),
    ]
    return _table(["CPU time of", "a core"], rows)


def check_table() -> str:
    """How the model did beside two processes."""
    rows = [
        _check_row(check, each)
        for name, check in sorted(_measured().items())
        if name.startswith("check")
        for each in [*check["predictions"], check["saturation"]]
    ]
    titles = ["", "stretched", "CPU-µs", "model", "p50 ms", "model", "p99 ms", "model", "requests/s, model"]
    return _table(titles, rows)


def _check_row(check: dict[str, Any], each: dict[str, Any]) -> tuple[str, ...]:
    point = each["measured"]
    words = [f"{check['documents']} documents, {point['rate']:,.0f}/s"]
    words += ["as much as they can"] if each is check["saturation"] else []
    words += ["calibrated here"] if point["rate"] == check["calibration_rate"] else []
    # Where most rounds were overloaded, the others say nothing of the median.
    is_overloaded = each["overloaded"] * 2 > check["rounds"]
    times = [
        cell
        for key in ("p50", "p99")
        for cell in (f"{point[key] / 1000:,.1f}", "overloaded" if is_overloaded else _off(each[key]))
    ]
    cells = (f"{point['stretch']:.1f}", f"{point['cpu']:,.0f}", _off(each["cpu"]))
    return (", ".join(words), *cells, *times, _off(each["throughput"]))


def _off(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio - 1:+.0%}"


def _table(titles: list[str], rows: Any) -> str:
    return "\n".join(_lines(titles, rows))


def _lines(titles: list[str], rows: Any) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield f"|---|{'--:|' * (len(titles) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


PARTS: dict[str, Callable[[], str]] = {
    "capacity_costs": costs_table,
    "capacity_check": check_table,
}
