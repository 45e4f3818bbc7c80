"""The part of benchmarks/local.py that compares number formats with each other, and with other engines' int8.

The model is ms-marco-minilm-l12, installed by `rerank-gateway models`; all compute the same batches on one thread. With
`--against onnxruntime --peer-python P --onnx FILE` another engine does so in turns, in its own environment (P, its
Python), on the file that the model was converted from. `make test-onnxruntime` makes such an environment.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.local_setup import QUERY, documents
from providers.local.engine import TextRequest
from providers.local.loading import CPU_BATCH_TOKENS, load
from providers.local.model import LoadedModel
from providers.local.tokens import Tokens
from providers.spec import LocalModel

MODEL = "installed:ms-marco-minilm-l12"
DTYPES = ("float32", "bfloat16", "int8")

Batches = list[list[Tokens]]
Way = Callable[[], tuple[float, list[float]]]
"""Computes all batches; gives the CPU seconds that it took, and the logits."""


async def int8(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """CPU time of the forward passes in each number format, on one thread; ms-marco-minilm-l12."""
    nets = {dtype: load(LocalModel(name="m", path=MODEL, dtype=dtype, threads=1)) for dtype in DTYPES}
    request = TextRequest(QUERY, documents(options, options.pairs), None, None, 0)
    batches = by_length(nets["float32"].encode(request, lambda: None).inputs)
    ways = {f"engine {dtype}": engine_way(net, batches) for dtype, net in nets.items()}
    if options.against:
        ways[options.against] = peer_way(options, batches)
    runs: dict[str, list[tuple[float, list[float]]]] = {name: [] for name in ways}
    for _ in range(options.rounds + 1):
        for name, way in ways.items():
            runs[name].append(way())
    result = {name: summary(own[1:], runs["engine float32"]) for name, own in runs.items()}
    print(f"  {'way':20}{'CPU ms':>9}{'of float32':>12}{'largest difference of a logit':>32}")
    for name, own in result.items():
        print(f"  {name:20}{own['cpu'] * 1e3:9.0f}{own['share']:12.2f}{own['difference']:32.1e}")
    return result


def by_length(inputs: list[Tokens]) -> Batches:
    """Batches of the engine's size, of inputs that are cut to equal length, so that nothing is padded."""
    batches: Batches = [[]]
    for tokens in sorted(inputs, key=lambda tokens: len(tokens.ids)):
        if (len(batches[-1]) + 1) * len(tokens.ids) > CPU_BATCH_TOKENS:
            batches.append([])
        batches[-1].append(tokens)
    return [equal(batch) for batch in batches if batch]


def equal(batch: list[Tokens]) -> list[Tokens]:
    size = len(batch[0].ids)
    return [Tokens(tokens.ids[:size], (tokens.types or [])[:size]) for tokens in batch]


def engine_way(net: LoadedModel, batches: Batches) -> Way:
    def compute() -> tuple[float, list[float]]:
        torch.set_num_threads(1)
        start = time.process_time()
        rows = [row for batch in batches for row in net.collect(net.launch(batch))]
        return time.process_time() - start, [float(row[0]) for row in rows]

    return compute


def peer_way(options: argparse.Namespace, batches: Batches) -> Way:
    """Another engine in a process of its own, which ends with its standard input."""
    script = Path(__file__).with_name("onnx_peer.py")
    command = [options.peer_python, str(script), options.against, options.onnx]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout
    stdin.write(json.dumps([[{"ids": t.ids, "types": t.types} for t in batch] for batch in batches]) + "\n")

    def compute() -> tuple[float, list[float]]:
        stdin.write("go\n")
        answer = json.loads(stdout.readline())
        return answer["cpu"], [logit for batch in answer["logits"] for logit in batch]

    return compute


def summary(runs: list[tuple[float, list[float]]], first: list[tuple[float, list[float]]]) -> dict[str, Any]:
    cpu, base = (statistics.median(seconds for seconds, _ in own) for own in (runs, first[1:]))
    return {
        "cpu": cpu,
        "share": cpu / base,
        "difference": float(np.abs(np.subtract(runs[-1][1], first[-1][1])).max()),
    }
