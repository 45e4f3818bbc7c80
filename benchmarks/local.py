"""Compare the local engine with sentence-transformers' CrossEncoder.predict, side by side in one run.

The model is MiniLM-L6-sized: the embedded embedding model's weights with a seeded score head. Every figure is a median
over interleaved rounds, in wall time and in CPU time of this process. With `--device cuda` the same tables are made on
the GPU, where the peer computes in bfloat16, too.

    PYTHONPATH=. python benchmarks/local.py --cranfield DIR --json result.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import platform
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder

from benchmarks.cranfield import Bm25
from benchmarks.local_company import company
from benchmarks.local_int8 import int8
from benchmarks.local_load import callers, fair, full, lag, livez
from benchmarks.local_setup import QUERY, build_model, documents, interleaved, open_backend, rank, records

PEER_BATCH = 32
APART = 4e-3
"""Scores that differ by more must keep their order in bfloat16."""


def main() -> int:
    """Run the chosen parts, print their figures, and write them to a file."""
    options = arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(run_parts(options, build_model(Path(folder))))
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1))
    return 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 (default: cpu)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds of each measurement (default: 5)")
    parser.add_argument("--pairs", type=int, default=100, help="pairs of the first table (default: 100)")
    parser.add_argument("--threads", type=int, help="torch threads for both sides (default: one per core)")
    parser.add_argument("--cranfield", type=Path, help="folder with corpus.jsonl and queries.jsonl: real texts")
    parser.add_argument("--queries", type=int, default=200, help="Cranfield queries whose order is compared")
    parser.add_argument(
        "--only",
        nargs="*",
        default=[name for name in PARTS if name != "int8"],
        choices=list(PARTS),
        help="parts to run (default: all but int8, whose model has to be installed)",
    )
    parser.add_argument("--batch-tokens", type=int, nargs="*", default=[], help="also time these batch sizes")
    parser.add_argument("--dtype", default="auto", help="number format whose order is compared (default: auto)")
    parser.add_argument("--against", choices=["onnxruntime", "openvino"], help="another engine, for the part int8")
    parser.add_argument("--peer-python", help="the Python of its environment")
    parser.add_argument("--onnx", help="the file that it computes")
    parser.add_argument("--json", help="write the figures to this file")
    return parser.parse_args()


async def run_parts(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """The figures of each part by its name, with the machine and the options."""
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
    """The device and the versions that the figures depend on."""
    processor = getattr(torch.cpu, "get_capabilities", dict)().get("cpu_name") or platform.machine()
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else processor
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__, "python": sys.version[:6]}


async def table(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """CrossEncoder.predict(batch_size=32) against the engine, pairs of mixed length."""
    texts = documents(options, options.pairs)
    peers = {"CrossEncoder.predict float32": peer(options, model, torch.float32)}
    if options.device != "cpu":
        peers["CrossEncoder.predict bfloat16"] = peer(options, model, torch.bfloat16)
    engines = {
        "engine float32": open_backend(options, model, dtype="float32"),
        "engine auto": open_backend(options, model),
    }
    for size in options.batch_tokens:
        engines |= {
            f"engine {d}, {size}": open_backend(options, model, dtype=d, batch_tokens=size) for d in ("float32", "auto")
        }
    ways = {name: prediction(net, texts) for name, net in peers.items()}
    ways |= {name: (lambda backend=backend: rank(backend, texts)) for name, backend in engines.items()}
    figures = await interleaved(ways, options.rounds)
    for backend in engines.values():
        await backend.aclose()
    return print_table(figures, tokens_of(model, texts), floors(options.device, tokens_of(model, texts)))


def peer(options: argparse.Namespace, model: Path, dtype: torch.dtype) -> CrossEncoder:
    """What the engine is compared with."""
    return CrossEncoder(str(model), device=options.device, model_kwargs={"dtype": dtype})


def prediction(net: CrossEncoder, texts: list[str]) -> Callable[[], Awaitable[Any]]:
    async def predict() -> list[float]:
        pairs = [(QUERY, text) for text in texts]
        return [float(score) for score in net.predict(pairs, batch_size=PEER_BATCH, show_progress_bar=False)]

    return predict


def print_table(figures: dict[str, dict[str, Any]], tokens: int, limits: dict[str, float]) -> dict[str, Any]:
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
    """Tokens of all pairs together."""
    net = CrossEncoder(str(model), device="cpu")
    return int(sum(len(net.tokenizer(QUERY, text, truncation=True)["input_ids"]) for text in texts))


def floors(device: str, tokens: int) -> dict[str, float]:
    """Seconds for the matrix products of the 6 layers (384 and 1,536 wide) alone, at the best speed measured here."""
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


async def order(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """Top 10 of Cranfield queries (of BM25's 20 best): is the order that of float32?"""
    rows = records(options.cranfield / "corpus.jsonl")
    corpus = {row["_id"]: row["text"] for row in rows if row["text"].strip()}
    queries = [record["text"] for record in records(options.cranfield / "queries.jsonl")][: options.queries]
    index, net = Bm25(corpus), peer(options, model, torch.float32)
    backend = open_backend(options, model, dtype=options.dtype)
    pairs = kept = 0
    worst = 0.0
    for query in queries:
        texts = [corpus[key] for key in index.best(query, 20)]
        expected = net.predict([(query, text) for text in texts], batch_size=PEER_BATCH, show_progress_bar=False)
        scores = await rank(backend, texts, query)
        worst = max(worst, float(np.abs(np.subtract(scores, expected)).max()))
        top = sorted(range(len(texts)), key=lambda index: -expected[index])[:10]
        apart = [(a, b) for a, b in pairwise(top) if expected[a] - expected[b] > APART]
        pairs, kept = pairs + len(apart), kept + sum(scores[a] > scores[b] for a, b in apart)
    await backend.aclose()
    print(f"  {len(queries)} queries: {kept} of {pairs} adjacent pairs keep their order ({kept / pairs:.4f})", end="")
    print(f", largest difference {worst:.1e}")
    return {"queries": len(queries), "pairs": pairs, "kept": kept, "share": kept / pairs, "difference": worst}


Part = Callable[[argparse.Namespace, Path], Awaitable[dict[str, Any]]]
PARTS: dict[str, Part] = {
    "table": table,
    "callers": callers,
    "fair": fair,
    "lag": lag,
    "livez": livez,
    "full": full,
    "order": order,
    "company": company,
    "int8": int8,
}


if __name__ == "__main__":
    sys.exit(main())
