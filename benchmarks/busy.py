"""Measure the local engine beside other work: how its threads wait, and how many there are.

    python -m benchmarks.busy --rounds 40 --burners 2

One process per variant holds the built-in model. They take turns, one request of 20 short documents each, so that all
of them meet the same load. Burners are processes that do nothing but compute.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

VARIANTS: dict[str, dict[str, str]] = {
    # What libgomp does where nothing is set: so many turns, then sleep.
    "2 threads that spin (torch's default)": {"GOMP_SPINCOUNT": "300000", "OMP_NUM_THREADS": "2"},
    "2 threads that sleep (the gateway's default)": {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "2"},
    "1 thread": {"OMP_NUM_THREADS": "1"},
}
DOCUMENTS = [f"The wing of model {number} has a lift that grows with the angle of attack." for number in range(20)]


async def serve_turns() -> None:
    """In a child: one request for each line of standard input; print its seconds and its processor seconds."""
    from providers.adapters.local import PROVIDER
    from providers.local.builtin.catalogue import EMBEDDING_MODEL
    from providers.spec import LocalModel
    from providers.types import Call, RerankRequest

    engine = PROVIDER.open(LocalModel(name="m", path=EMBEDDING_MODEL.path))
    print("ready", flush=True)
    for number, _ in enumerate(sys.stdin):
        request = RerankRequest(
            model="m", query=f"lift of the wing {number}", documents=DOCUMENTS, call=Call(id=str(number))
        )
        wall, processor = time.perf_counter(), time.process_time()
        await engine.rerank(request)
        print(time.perf_counter() - wall, time.process_time() - processor, flush=True)


def measure(rounds: int, burners: int) -> dict[str, tuple[float, float]]:
    """Median milliseconds and median processor milliseconds of each variant."""
    loads = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(burners)]
    children = {name: _child(environ) for name, environ in VARIANTS.items()}
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in VARIANTS}
    try:
        for _ in range(rounds + 2):
            for name, child in children.items():
                seen[name].append(_turn(child))
    finally:
        for process in [*loads, *children.values()]:
            process.kill()
            process.wait()
    return {name: _medians(turns[2:]) for name, turns in seen.items()}


def _child(environ: dict[str, str]) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.busy", "--child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **environ, "HF_HUB_OFFLINE": "1"},
        text=True,
    )
    assert child.stdout is not None
    child.stdout.readline()
    return child


def _turn(child: subprocess.Popen[str]) -> tuple[float, float]:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("\n")
    child.stdin.flush()
    wall, processor = map(float, child.stdout.readline().split())
    return wall, processor


def _medians(turns: Sequence[tuple[float, float]]) -> tuple[float, float]:
    wall, processor = zip(*turns, strict=True)
    return 1000 * statistics.median(wall), 1000 * statistics.median(processor)


def main() -> None:
    """Print one line per variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--burners", type=int, default=2)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        asyncio.run(serve_turns())
        return
    print(f"load average {os.getloadavg()[0]:.1f} before, {options.burners} burners, {os.cpu_count()} processors")
    for name, (wall, processor) in measure(options.rounds, options.burners).items():
        print(f"{wall:7.1f} ms, {processor:7.1f} ms of processor time  {name}", flush=True)


if __name__ == "__main__":
    main()
