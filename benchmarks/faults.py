"""Soak test under load: upstreams that fail at random, a healthy last target, reloads, and SIGTERM at the end.

    python -m benchmarks.faults --seconds 600

Two workers count in a real Redis server; callers have keys with limits, slow targets are hedged, and all are checked.

Exits with 1 unless every request was served with the right ranking, and nothing grew.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import yaml

from gateway.access.keys import new_key
from tests.faults.server import ACTIONS, ANSWERS, FaultServer

FLAPPING = ("one", "two", "three")
HARMLESS = {"good", "too few results", "another model's name", "wrong content type"}
COOLDOWNS = {"401", "402", "403", "429 seconds", "429 milliseconds", "429 date", "503 retry-after"}
"""After these a target is not called for so long that it would hardly take part in the test."""
FAULTS = [mode for mode in [*ANSWERS, *ACTIONS] if mode not in HARMLESS | COOLDOWNS]
CALLERS = 16
PAUSE = 0.05
TIMEOUT_MS = 4000
KEY, HASH = new_key()
HEADERS = {"x-request-timeout-ms": str(TIMEOUT_MS), "authorization": f"Bearer {KEY}"}


def configuration(server: FaultServer, store: str, round_: int) -> dict[str, Any]:
    providers = {name: _provider(server.url(name)) for name in FLAPPING}
    targets = [{"target": f"{name}/m"} for name in FLAPPING] + [{"target": "good/m"}]
    # The round changes a provider, so that a reload opens and closes something.
    return {
        "server": {"drain": 1.0, "workers": 2},
        "store": {"url": store},
        "auth": {
            "keys": [{"name": "soak", "hash": HASH, "limits": {"requests": "1000000/minute", "concurrency": 100}}]
        },
        "request_limits": {"answer_bytes": 4_000_000},
        "telemetry": {"logs": {"level": "error"}},
        "providers": {
            **providers,
            "one": {**providers["one"], "timeout": 20 + round_ % 2},
            "good": _provider(server.url("good")),
        },
        "models": {"best": {"targets": targets, "hedge": {"after": 0.5}}},
    }


def _provider(url: str) -> dict[str, Any]:
    # Ejections far shorter than the defaults: faults must be met again and again.
    breaker = {"base_ejection": 0.5, "max_ejection": 2.0}
    check = {"url": url, "interval": 1.0}
    return {
        "adapter": "jina",
        "base_url": url,
        "api_key": "k",
        "proxy": "none",
        "breaker": breaker,
        "health_check": check,
    }


class Soak:
    """Counts the outcomes that callers see, and samples the memory and open files of the process."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid
        self.seen: Counter[str] = Counter()
        self.worst = 0.0
        self.samples: list[tuple[float, int]] = []
        self.stopping = False

    async def caller(self, session: aiohttp.ClientSession) -> None:
        body = {"model": "best", "query": "q", "documents": ["a", "b"]}
        while True:
            start = time.monotonic()
            try:
                async with session.post(f"{self.url}/v1/rerank", json=body, headers=HEADERS) as answer:
                    self._count(answer.status, await answer.json())
                    if answer.headers.get("connection") == "close":
                        return  # As a load balancer would: told to go elsewhere, it goes.
            except aiohttp.ClientConnectorError:
                if self.stopping:
                    return
                self.seen["lost: no connection"] += 1
            except (aiohttp.ClientError, OSError) as error:
                self.seen[f"lost: {type(error).__name__}"] += 1
            self.worst = max(self.worst, time.monotonic() - start)
            await asyncio.sleep(PAUSE * random.random() * 2)

    def _count(self, status: int, body: dict[str, Any]) -> None:
        if status != 200:
            self.seen[f"{status} {body['error_type']}"] += 1
        elif [result["index"] for result in body["results"]] != [1, 0]:
            self.seen["wrong ranking"] += 1
        else:
            self.seen["served"] += 1
            self.seen[f"by {body['extra_fields']['provider']}"] += 1

    def sample(self) -> None:
        tree = _process_tree(self.pid)
        self.samples.append((sum(map(_rss_mib, tree)), sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in tree)))


def _process_tree(pid: int) -> list[int]:
    """The supervisor and its workers."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *(each for child in children for each in _process_tree(int(child)))]


def _rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)


async def flap(server: FaultServer) -> None:
    while True:
        server.plays[random.choice(FLAPPING)] = random.choice([*FAULTS, *["good"] * len(FAULTS)])
        await asyncio.sleep(random.random())


async def soak(
    seconds: float, server: FaultServer, store: str, gateway: subprocess.Popen[bytes], file: Path, url: str
) -> Soak:
    run = Soak(url, gateway.pid)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        flapping = asyncio.create_task(flap(server))
        callers = [asyncio.create_task(run.caller(session)) for _ in range(CALLERS)]
        for tick in range(int(seconds)):
            await asyncio.sleep(1)
            if tick % 5 == 4:
                run.sample()
            if tick % 20 == 19:
                file.write_text(yaml.safe_dump(configuration(server, store, tick // 20 + 1)))  # noqa: ASYNC240  # tiny
                gateway.send_signal(signal.SIGHUP)
                run.seen["reloads"] += 1
        run.stopping = True
        gateway.send_signal(signal.SIGTERM)
        await asyncio.gather(*callers)
        flapping.cancel()
    return run


def report(run: Soak, status: int) -> bool:
    """Print the figures. Returns whether they are as they should be."""
    third = max(1, len(run.samples) // 3)
    early, late = run.samples[third : 2 * third] or run.samples, run.samples[-third:]
    rss = [median(sample[0] for sample in part) for part in (early, late)]
    fds = [median(sample[1] for sample in part) for part in (early, late)]
    for name, count in sorted(run.seen.items()):
        print(f"{name:32} {count}")
    print(f"{'slowest request':32} {run.worst:.2f} s")
    print(f"{'memory, every 5 s':32} {' '.join(str(round(sample[0])) for sample in run.samples)} MiB")
    print(f"{'memory, middle and last third':32} {rss[0]:.1f} MiB, {rss[1]:.1f} MiB")
    print(f"{'open files, middle and last third':32} {fds[0]:.0f}, {fds[1]:.0f}")
    print(f"{'exit status after SIGTERM':32} {status}")
    good = {"served", "reloads"}
    bad = [name for name in run.seen if name not in good and not name.startswith("by ")]
    return not bad and status == 0 and rss[1] < rss[0] * 1.1 + 5 and fds[1] <= fds[0] + 30


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--seed", type=int, default=4)
    chosen = parser.parse_args()
    random.seed(chosen.seed)
    server = FaultServer().start()
    server.plays.update(dict.fromkeys(FLAPPING, "good"))
    port, store_port = _free_ports(2)
    store = f"redis://127.0.0.1:{store_port}/0"
    with tempfile.TemporaryDirectory() as folder, _redis(store_port, folder):
        file = Path(folder, "gateway.yaml")
        file.write_text(yaml.safe_dump(configuration(server, store, 0)))
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(file), "--port", str(port)]
        with Path(folder, "log").open("wb") as log:
            gateway = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_until_ready(port)
            run = asyncio.run(soak(chosen.seconds, server, store, gateway, file, f"http://127.0.0.1:{port}"))
            status = gateway.wait(60)
        finally:
            gateway.kill()
            server.stop()
        errors = [line for line in Path(folder, "log").read_text().splitlines() if "Traceback" in line]
    return 0 if report(run, status) and not errors else 1


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in held]


@contextmanager
def _redis(port: int, folder: str) -> Iterator[None]:
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        raise SystemExit("the soak test needs valkey-server or redis-server")
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder)
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as server:
        try:
            _wait_until_ready(port)
            yield
        finally:
            server.terminate()


def _wait_until_ready(port: int) -> None:
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("the gateway did not start")


if __name__ == "__main__":
    sys.exit(main())
