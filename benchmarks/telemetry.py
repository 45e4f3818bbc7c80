"""What telemetry adds to one request, in CPU-µs: everything the endpoint and a target do for it, and nothing else.

    python -m benchmarks.telemetry

Rows are measured in turns within each round. The table shows the lowest of each, since other work on the machine only
adds to CPU time, and the median of the rounds' ratios to the first row. Spans go to a real OTLP exporter whose
collector is a thread of another process on loopback; its encoding and sending are part of the figure (process CPU time
counts all threads). The log's lines go to standard error.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from gateway.telemetry import names
from gateway.telemetry.attributes import ProviderAddress
from gateway.telemetry.observer import Telemetry
from gateway.telemetry.settings import TelemetrySettings
from providers.types import Ranked, Ranking, RerankRequest, Usage

REQUESTS = 4000
ROUNDS = 5
HEADERS = [(b"host", b"x"), (b"content-type", b"application/json"), (b"content-length", b"9"), (b"accept", b"*/*")]
CALLER = (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
QUIET: dict[str, Any] = {"logs": {"requests": False}}


PRESETS: dict[str, dict[str, str]] = {
    **{backend: {"backend": backend} for backend in names.BACKENDS},
    "both": {"conventions": "both"},
}


class _Collector(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Silence."""


def collect(told: Any) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Collector)
    told.put(server.server_port)
    server.serve_forever()


def one(telemetry: Telemetry, headers: list[tuple[bytes, bytes]]) -> None:
    """What endpoint.py and target.py do around a request of ten documents."""
    exchange = telemetry.begin("unified", "/v1/rerank", "0123456789abcdef0123456789abcdef", headers)
    call = exchange.call
    exchange.read = time.monotonic()
    request = exchange.request = RerankRequest(model="cohere/m", query="q", documents=["d"] * 10, call=call)
    attempt = call.recorder.begin_attempt("cohere", "m")
    start = time.monotonic()
    call.recorder.add_wait(start, time.monotonic())
    attempt.finish_all(200)
    exchange.ranking = Ranking(results=_RESULTS, usage=_USAGE, id="id", provider="cohere", model=request.model)
    exchange.finish(200, b"x" * 900)
    exchange.headers()
    telemetry.end(exchange)


_RESULTS = [Ranked(index, 0.5) for index in range(10)]
_USAGE = Usage(search_units=1.0, prompt_tokens=500, total_tokens=500)


async def measured(settings: dict[str, Any], headers: list[tuple[bytes, bytes]]) -> float:
    """CPU-µs per request, the sending of what was recorded included."""
    peers = {"cohere": ProviderAddress("cohere", "127.0.0.1", 80)}
    telemetry = Telemetry(TelemetrySettings.model_validate(settings), peers, ["cohere/m", "m"])
    telemetry.open()
    for _ in range(200):
        one(telemetry, headers)
    start = time.process_time()
    for number in range(REQUESTS):
        one(telemetry, headers)
        if number % 100 == 99:
            await asyncio.sleep(0.002)  # as on a socket: lets the exporter's thread run, so that nothing is dropped
    await telemetry.aclose()
    return (time.process_time() - start) / REQUESTS * 1e6


def main() -> None:
    told: Any = multiprocessing.get_context("spawn").Queue()
    collector = multiprocessing.get_context("spawn").Process(target=collect, args=(told,), daemon=True)
    collector.start()
    otlp = {"endpoint": f"http://127.0.0.1:{told.get(timeout=30)}"}

    def traced(ratio: float, **traces: Any) -> dict[str, Any]:
        traces["sample_ratio"] = ratio
        return {**QUIET, "otlp": otlp, "traces": traces, "metrics": {"exporter": "none"}}

    cases: dict[str, tuple[dict[str, Any], list[tuple[bytes, bytes]]]] = {
        "metrics": (QUIET, HEADERS),
        "metrics, GenAI's too": ({**QUIET, "metrics": {"gen_ai": True}}, HEADERS),
        "metrics, log to a file": ({}, HEADERS),
        **{
            f"metrics, traces at {ratio:.0%} for {name}": (traced(ratio, **traces), HEADERS)
            for ratio in (0.01, 1.0)
            for name, traces in PRESETS.items()
        },
        "metrics, traces at 100%, the caller's trace": (traced(1.0), [*HEADERS, CALLER]),
    }
    found: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, case in cases.items():
            found[name].append(asyncio.run(measured(*case)))
    collector.terminate()
    for name, values in found.items():
        ratio = statistics.median(value / first for value, first in zip(values, found["metrics"], strict=True))
        print(f"{name:48} {min(values):7.1f} CPU-µs per request, {ratio:5.2f} times the first row")


if __name__ == "__main__":
    main()
