"""Measure how long GET /livez takes while the local engine is saturated; a part of benchmarks/local.py."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SLEEPER = """
import sys, time
while (start := time.monotonic()) < float(sys.argv[1]):
    time.sleep(0.005)
    print(time.monotonic() - start - 0.005)
"""
LOAD_SECONDS = 30.0
"""Seconds of saturation under which /livez is measured."""


def livez_under_load(model: dict[str, Any], content: list[list[bytes]]) -> dict[str, Any]:
    """Latencies of GET /livez, called every 5 ms, while callers keep the engine busy.

    Args:
        model: the settings of the local model that the requests call `local/m`.
        content: the bodies that each caller sends, one after the other and over again.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "gateway.yaml")
        config.write_text(json.dumps({"providers": {"local": {"models": {"m": model}}}}))
        with running_process([sys.executable, "-m", "gateway", "serve", "--config", str(config), "--port", str(port)]):
            return compare_idle_and_busy(port, content)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextlib.contextmanager
def running_process(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def compare_idle_and_busy(port: int, content: list[list[bytes]]) -> dict[str, Any]:
    """Latencies of /livez when idle and under load, and how late the machine alone made a sleeping process."""
    while not ready(port):
        time.sleep(0.1)
    idle, end = probes(port, time.monotonic() + 5), time.monotonic() + LOAD_SECONDS
    with ThreadPoolExecutor(len(content) + 1) as pool:
        answered = [pool.submit(send_load, port, own, end) for own in content]
        slept = pool.submit(pauses, end)
        busy = probes(port, end)
        requests = sum(future.result() for future in answered)
    result = {"idle": spread(idle), "busy": spread(busy), "a sleep of 5 ms, late": spread(slept.result())}
    for name, own in result.items():
        print(f"  {name:22}" + "p50 {p50_s:.4f} s, p99 {p99_s:.4f} s, largest {max_s:.4f} s of {samples}".format(**own))
    print(f"  {requests} requests answered meanwhile")
    return {**result, "requests": requests}


def pauses(end: float) -> list[float]:
    """Seconds by which sleeps of 5 ms are late in a process that does nothing else, which is the machine's share."""
    return [float(line) for line in subprocess.check_output([sys.executable, "-c", SLEEPER, str(end)]).split()]


def ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def probes(port: int, end: float) -> list[float]:
    """Seconds of each GET /livez over one connection until `end`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    seconds = []
    while time.monotonic() < end:
        start = time.perf_counter()
        connection.request("GET", "/livez")
        assert connection.getresponse().read()
        seconds.append(time.perf_counter() - start)
        time.sleep(0.005)
    connection.close()
    return seconds


def send_load(port: int, content: list[bytes], end: float) -> int:
    """Send requests one after the other until `end`. Returns how many were answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    count = 0
    while time.monotonic() < end:
        connection.request("POST", "/v1/rerank", content[count % len(content)], {"content-type": "application/json"})
        response = connection.getresponse()
        response.read()
        assert response.status == 200, response.status
        count += 1
    return count


def spread(seconds: list[float]) -> dict[str, float]:
    """Their median, 99th percentile and largest, in seconds, and how many there are."""
    ordered = sorted(seconds)
    p99 = ordered[int(len(ordered) * 0.99)]
    return {"p50_s": statistics.median(ordered), "p99_s": p99, "max_s": ordered[-1], "samples": len(ordered)}
