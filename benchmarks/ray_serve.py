"""What Ray Serve adds to a request: the same tiny model in the engine process, and in a replica behind HAProxy.

    make test-ray                                  # makes the environment of Ray
    PYTHONPATH=. python -m benchmarks.ray_serve

Both gateways have two workers and answer the same requests, one at a time and in turns. CPU time is that of all
processes on the way: workers, engine process, HAProxy, replica, and what Ray does for each request; what they all take
while nothing is asked is told apart. It runs in namespaces of its own (tests/ray_serve/run.py).
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.ray_serve.cluster import ROOT, Cluster, megabytes, open_network, processor_seconds
from tests.ray_serve.run import NETWORK, unshare

ROUNDS, REQUESTS, IDLE_SECONDS = 5, 200, 4.0
TEXT = "the shock layer of a body in the flow of a hot jet "
SIZES = {10: TEXT * 15, 100: TEXT * 20}
"""Documents of a request, and each of them: 7.8 KB and 105 KB in all."""
KEY = "of-this-benchmark"


def tree(model: Path) -> dict[str, Any]:
    """One replica, whose model computes next to nothing."""
    models = {"m": {"path": str(model), "dtype": "float32", "threads": 1}}
    local = {"base_url": "http://10.77.0.1:8000/local", "api_key": KEY, "proxy": "none", "models": models}
    return {"auth": "none", "server": {"workers": 2}, "providers": {"local": {**local, "scale": {"cpus": 1}}}}


class Gateway:
    """A gateway with two workers, and all its processes."""

    def __init__(self, folder: Path, name: str, settings: dict[str, Any], port: int) -> None:
        file = folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(settings), encoding="utf-8")
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(file), "--port", str(port)]
        self.popen = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
        self._wait(time.monotonic() + 200)

    def _wait(self, until: float) -> None:
        while time.monotonic() < until:
            with suppress(httpx.HTTPError):  # It does not listen yet.
                if self.client.get("/readyz").json().get("status") == "ready":
                    return
            time.sleep(0.2)
        sys.exit("the gateway did not start")

    def processes(self) -> list[int]:
        """Ids of it and of its children."""
        children = subprocess.run(["pgrep", "--parent", str(self.popen.pid)], capture_output=True, text=True).stdout
        return [self.popen.pid, *map(int, children.split())]


def idle_share(processes: Callable[[], list[int]]) -> float:
    """CPU seconds a second while nothing is asked."""
    before = processor_seconds(processes())
    time.sleep(IDLE_SECONDS)
    return (processor_seconds(processes()) - before) / IDLE_SECONDS


def measure(gateway: Gateway, processes: Callable[[], list[int]], documents: int, idle: float) -> tuple[float, float]:
    """The median of the seconds of a request, and the CPU seconds of a request beyond those that pass anyway."""
    body = {"model": "local/m", "query": "shock", "documents": [SIZES[documents]] * documents}
    seconds, before, began = [], processor_seconds(processes()), time.monotonic()
    for _ in range(REQUESTS):
        start = time.perf_counter()
        gateway.client.post("/v1/rerank", json=body).raise_for_status()
        seconds.append(time.perf_counter() - start)
    used = processor_seconds(processes()) - before - idle * (time.monotonic() - began)
    return statistics.median(seconds), used / REQUESTS


def compare(cluster: Cluster, folder: Path) -> None:
    """Print a row for each way and size."""
    inside = deepcopy(cluster.tree)
    del inside["providers"]["local"]["base_url"]
    near, far = Gateway(folder, "near", inside, 18801), Gateway(folder, "far", cluster.tree, 18802)
    ways = {
        "engine process": (near, near.processes),
        "Ray Serve, HAProxy": (far, lambda: [*far.processes(), *cluster.hosts[0].processes()]),
    }
    for name, (_, processes) in ways.items():
        print(f"memory, {name}: {megabytes(processes()):.0f} MB")
    idle = {name: idle_share(processes) for name, (_, processes) in ways.items()}
    print("CPU while nothing is asked: " + ", ".join(f"{name} {share:.3f}" for name, share in idle.items()))
    for documents in SIZES:
        rounds = [
            {name: measure(*way, documents, idle[name]) for name, way in ways.items()} for _ in range(ROUNDS + 1)
        ][1:]
        for name in ways:
            p50, cpu = (
                statistics.median(values) * 1e3 for values in zip(*(each[name] for each in rounds), strict=True)
            )
            print(f"{documents:4} documents, {name:20}: p50 {p50:6.2f} ms, {cpu:6.2f} CPU-ms", flush=True)
    for gateway in (near, far):
        gateway.popen.terminate()
        gateway.popen.wait()


def main() -> None:
    """Enter namespaces, start everything, and compare."""
    if "TESTS_OWN_NETWORK" not in os.environ:
        command = unshare() or sys.exit("this needs unshare and ip, and root or user namespaces")
        again = [*command, sys.executable, "-m", "benchmarks.ray_serve"]
        sys.exit(subprocess.run(again, env={**os.environ, "TESTS_OWN_NETWORK": NETWORK}).returncode)
    sys.path.append(str(ROOT / "tests" / "providers" / "local"))
    import tiny_models

    folder = Path(tempfile.mkdtemp(prefix="rg-"))
    open_network()
    cluster = Cluster(folder, tree(tiny_models.bert(folder / "model")))
    start = time.monotonic()
    try:
        cluster.start_host()
        cluster.deploy()
        cluster.wait_until(lambda: True, "the replica serves")
        print(f"Ray, Serve and a replica after {time.monotonic() - start:.0f} s")
        compare(cluster, folder)
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
