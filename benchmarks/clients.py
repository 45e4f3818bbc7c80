"""Measure the CPU cost of each HTTP client, plain and over TLS; the figures of docs/decisions/0006-upstream-client.md.

    python -m benchmarks.clients

Starts nginx on loopback as the upstream (core 1) and one client process at a time (core 0), in interleaved rounds.
A client that is not installed is left out. CPU-µs is the client process's own time, its threads included.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import importlib.util
import itertools
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

CLIENTS = ("direct", "aiohttp", "pyreqwest", "httpx")
Send = Callable[[], Awaitable[bytes]]


def main() -> None:
    arguments = _arguments()
    if arguments.child:
        _child(json.loads(arguments.child))
        return
    if shutil.which("nginx") is None:
        sys.exit("nginx is missing: install your system's nginx package")
    with tempfile.TemporaryDirectory() as folder:
        authority = _certificate(Path(folder))
        nginx = _nginx(Path(folder))
        try:
            _rounds(arguments, authority)
        finally:
            nginx.terminate()
            nginx.wait()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5, help="per measurement")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 32, 128])
    parser.add_argument("--documents", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, default=["direct", "aiohttp", "pyreqwest"])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def _rounds(arguments: argparse.Namespace, authority: str) -> None:
    clients = [name for name in arguments.clients if name == "direct" or importlib.util.find_spec(name)]
    cases = list(itertools.product(("http", "https"), arguments.documents, arguments.concurrency, clients))
    figures: dict[tuple[Any, ...], list[dict[str, float]]] = {case: [] for case in cases}
    for _ in range(arguments.rounds):
        for case in cases:
            figures[case].append(_measure(case, authority, arguments.seconds))
    print(
        f"{'scheme':7}{'documents':>10}{'concurrency':>12}  {'client':10}{'requests/s':>12}{'CPU-µs':>9}{'p50 µs':>9}"
    )
    for case, rounds in figures.items():
        scheme, documents, concurrency, client = case
        rate, cpu, p50 = (statistics.median(figure[key] for figure in rounds) for key in ("rate", "cpu", "p50"))
        print(f"{scheme:7}{documents:10}{concurrency:12}  {client:10}{rate:12.0f}{cpu:9.1f}{p50:9.0f}")


def _measure(case: tuple[Any, ...], authority: str, seconds: float) -> dict[str, float]:
    order = json.dumps([*case, authority, seconds])
    command = [sys.executable, "-m", "benchmarks.clients", "--child", order]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _child(order: list[Any]) -> None:
    scheme, documents, concurrency, client, authority, seconds = order
    os.sched_setaffinity(0, {0})
    port = 8471 if scheme == "http" else 8472
    url = f"{scheme}://localhost:{port}/{documents}"
    import uvloop

    body = json.dumps({"model": "m", "query": "q" * 60, "documents": ["d" * 350] * documents}).encode()
    figures = uvloop.run(_load(globals()[client.capitalize()], url, body, authority, concurrency, seconds))
    print(json.dumps(figures))


async def _load(
    client_class: Callable[..., Any], url: str, body: bytes, authority: str, concurrency: int, seconds: float
) -> dict[str, float]:
    async with client_class(url, body, authority, concurrency) as send:
        await asyncio.gather(*(send() for _ in range(concurrency)))
        await _until(send, time.monotonic() + 0.3, concurrency)
        used, started = _cpu(), time.monotonic()
        latencies = await _until(send, started + seconds, concurrency)
        wall, cpu = time.monotonic() - started, _cpu() - used
    return {
        "rate": len(latencies) / wall,
        "cpu": cpu / len(latencies) * 1e6,
        "p50": statistics.median(latencies) * 1e6,
    }


async def _until(send: Send, end: float, concurrency: int) -> list[float]:
    latencies: list[float] = []

    async def one() -> None:
        while (started := time.monotonic()) < end:
            await send()
            latencies.append(time.monotonic() - started)

    await asyncio.gather(*(one() for _ in range(concurrency)))
    return latencies


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


HEADERS = {
    "content-type": "application/json",
    "accept": "application/json",
    "accept-encoding": "gzip",
    "user-agent": "rerank-gateway",
    "authorization": "Bearer 0123456789abcdef",
    "x-request-id": "0123456789abcdef",
}


class GatewayClient:
    """One of the gateway's clients, called as the gateway calls it."""

    client: Literal["default", "aiohttp", "httpx"] = "default"

    def __init__(self, url: str, body: bytes, authority: str, concurrency: int) -> None:
        from gateway.transport.base import ClientSettings, Timeouts

        self._settings = ClientSettings(client=self.client, ca_file=authority)
        self._timeouts = Timeouts()
        self._url, self._content = url, body

    async def __aenter__(self) -> Send:
        from gateway.transport import open_client

        self._client = client = open_client(self._settings)

        async def send() -> bytes:
            answer = await client.send("POST", self._url, dict(HEADERS), self._content, self._timeouts)
            return answer.body

        return send

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()


class Direct(GatewayClient):
    """The default client."""


class Aiohttp(GatewayClient):
    """The client for requests through a proxy."""

    client = "aiohttp"


class Httpx(GatewayClient):
    """The alternative client."""

    client = "httpx"


class Pyreqwest:
    """pyreqwest with the same features: total, read, connect and pool timeouts, no redirects, a bounded body."""

    def __init__(self, url: str, body: bytes, authority: str, concurrency: int) -> None:
        from pyreqwest.client import ClientBuilder

        seconds = datetime.timedelta(seconds=5)
        self._client = (
            ClientBuilder()
            .add_root_certificate_pem(Path(authority).read_bytes())
            .follow_redirects(False)
            .connect_timeout(seconds)
            .pool_timeout(seconds)
            .max_connections(1000)
            .read_timeout(datetime.timedelta(seconds=60))
            .build()
        )
        self._url, self._content = url, body

    async def __aenter__(self) -> Send:
        client, url, body, total = self._client, self._url, self._content, datetime.timedelta(seconds=60)

        async def send() -> bytes:
            request = client.post(url).headers(dict(HEADERS)).body_bytes(body).timeout(total).build_streamed()
            async with request as answer:
                if answer.status != 200 or int(answer.get_header("content-length") or 0) > 1 << 25:
                    raise RuntimeError
                return bytes(await answer.bytes())

        return send

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()


def _certificate(folder: Path) -> str:
    import trustme

    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return str(folder / "ca.pem")


def _nginx(folder: Path) -> subprocess.Popen[bytes]:
    for documents in (10, 100, 1000):
        results = [{"index": i, "relevance_score": 0.9 - i * 1e-4} for i in range(documents)]
        (folder / str(documents)).write_text(json.dumps({"id": "x", "results": results}))
    (folder / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit; worker_cpu_affinity 10;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600; client_max_body_size 0;
  client_body_buffer_size 4m; default_type application/json; open_file_cache max=10;
  ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.pem;
  server {{
    listen 127.0.0.1:8471; listen [::1]:8471; listen 127.0.0.1:8472 ssl; listen [::1]:8472 ssl;
    root {folder};
    location / {{ error_page 405 =200 $uri; }}
  }}
}}""")
    os.chmod(folder, 0o755)
    process = subprocess.Popen([shutil.which("nginx") or "nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")])
    time.sleep(0.5)
    return process


if __name__ == "__main__":
    main()
