"""Put load on one server, and measure rate, latency, CPU time and memory."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import msgspec

from benchmarks.stacks import HERE, KEY, LOAD_CORE, Server


class Figures(msgspec.Struct):
    """One measurement. Latencies and CPU time in microseconds, CPU time per request; memory in megabytes."""

    rate: float
    p50: float
    p99: float
    errors: int
    cpu: float | None = None
    megabytes: float | None = None


def closed_loop(
    server: Server | None, port: int, body: Path, concurrency: int, seconds: float, unique: bool = False
) -> Figures:
    """Closed-loop load by wrk: each of `concurrency` connections sends its next request after the last response.

    A slow server is measured for longer, up to half a minute, so that the requests still in flight at the end, which
    cost CPU time but are not counted, are few among all. `unique` makes every query another one.
    """
    warm = _wrk(port, body, concurrency, 1, unique)
    seconds = max(seconds, min(30.0, 10 * concurrency * warm["seconds"] / max(warm["requests"], 1)))
    before = server.cpu_seconds() if server else 0.0
    result = _wrk(port, body, concurrency, seconds, unique)
    return _figures(result, server, before)


def open_loop(
    program: str,
    server: Server | None,
    port: int,
    request: Path,
    rate: float,
    seconds: float,
    cores: str = str(LOAD_CORE),
) -> Figures:
    """Open-loop load: requests are due at random moments, `rate` per second, however long earlier ones take."""
    before = server.cpu_seconds() if server else 0.0
    command = ["taskset", "-c", cores, program, str(port), f"{rate:.1f}", str(seconds), "128", str(request)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True)
    return _figures(json.loads(done.stdout), server, before)


def body(folder: Path, documents: int, characters: int | None) -> Path:
    """A request body with documents of that many characters, or 200 to 500 each."""
    path = folder / f"body-{documents}-{characters}.json"
    choose = random.Random(7)
    texts = [_text(choose, characters or choose.randint(200, 500)) for _ in range(documents)]
    query = "what is the effect of a shock wave on the boundary layer of a wing"
    path.write_text(json.dumps({"model": "cohere/rerank-v3.5", "query": query, "documents": texts}))
    return path


def request(folder: Path, content: Path) -> Path:
    """A file with the complete HTTP request for a body."""
    path = folder / f"{content.stem}.http"
    data = content.read_bytes()
    head = (
        "POST /v1/rerank HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {KEY}\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    path.write_bytes(head.encode() + data)
    return path


def _text(choose: random.Random, length: int) -> str:
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words: list[str] = []
    while sum(map(len, words)) + len(words) < length:
        words.append("".join(choose.choices(letters, k=choose.randint(2, 11))))
    return " ".join(words)[:length].strip().ljust(length, "x")


def _wrk(port: int, body: Path, concurrency: int, seconds: float, unique: bool) -> dict[str, float]:
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{concurrency}", f"-d{max(1, round(seconds))}s"]
    command += ["--timeout", "30s", "-s", str(HERE / "wrk.lua"), f"http://127.0.0.1:{port}/v1/rerank"]
    variables = os.environ | {"BENCHMARK_BODY": str(body), "BENCHMARK_KEY": KEY}
    variables |= {"BENCHMARK_UNIQUE": "1"} if unique else {}
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True, env=variables)
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _figures(result: dict[str, float], server: Server | None, before: float) -> Figures:
    figures = Figures(result["requests"] / result["seconds"], result["p50"], result["p99"], int(result["errors"]))
    if server is not None:
        figures.cpu = (server.cpu_seconds() - before) / max(result["requests"], 1) * 1e6
        figures.megabytes = server.megabytes()
    return figures
