"""Check the capacity model against two real gateway processes, and measure the costs that it needs.

    python -m benchmarks.capacity                     calibrate at one rate, predict others and the saturation
    python -m benchmarks.capacity --rounds 7 --documents 100
    python -m benchmarks.capacity --costs             what the store and the cache cost; needs a Valkey or Redis
    python -m benchmarks.capacity --waking --rates 50 100 200 500 1000 1500 2500
                                                      what a request costs more, the less a worker has to do
    python -m benchmarks.capacity --json FILE         add the figures to that file: docs/capacity.json is one

The two workers share two cores with the load and a C upstream of `--delay` ms, so CPU time per request is what to
compare: it survives neighbours, and a worker with a core to itself serves 1 s / CPU time requests a second at most.
How long the workers waited for a core, the kernel tells (/proc/PID/schedstat), and the model is given it. Rates take
turns within a round, each round is calibrated by itself, and figures are medians of the rounds. What the processes do
without any request is measured first, and subtracted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from benchmarks import load, stacks
from benchmarks.load import Figures
from benchmarks.stacks import HERE, Server, Upstream
from gateway.capacity.costs import shipped
from gateway.capacity.demand import Demand
from gateway.capacity.plan import gateway_work
from gateway.capacity.simulation import Queue, Service, simulate

WORKERS = 2
CORES = "0,1"
PORT, STORE_PORT = 8471, 8479
NAME = "cohere/rerank-v3.5"
CONNECTIONS = 64
SIMULATED = 50_000
DOCUMENT_BYTES = 350
"""On average, of load.body."""
BACKGROUND_SECONDS = 3
STORE = {"store": {"url": f"redis://127.0.0.1:{STORE_PORT}/0", "timeout": 5}}


class Point(Struct):
    """One measurement. Times in microseconds.

    Attributes:
        rate: requests per second of both workers.
        cpu: CPU time per request.
        stretch: how much longer a worker took than its CPU time, because neighbours had the core.
    """

    rate: float
    cpu: float
    stretch: float
    p50: float
    p99: float


class Prediction(Struct):
    """All rounds at one rate: medians of what was measured, and of what the model says divided by that.

    Attributes:
        overloaded: rounds in which the model foresaw a line that grows without end; they count for CPU time only.
        cpu, throughput, p50, p99: predicted divided by measured; None where nothing was predicted.
    """

    measured: Point
    overloaded: int
    cpu: float
    throughput: float | None = None
    p50: float | None = None
    p99: float | None = None


class Check(Struct):
    """One run. The service is what was calibrated, in microseconds; the median of the rounds."""

    documents: int
    delay: float
    rounds: int
    calibration_rate: float
    service: float
    background: float
    predictions: list[Prediction]
    saturation: Prediction


def main() -> None:
    arguments = _arguments()
    if problems := stacks.missing([]):
        sys.exit("\n".join(problems))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped then, too
    with tempfile.TemporaryDirectory() as name:
        measure = _costs if arguments.costs else _waking if arguments.waking else _check
        found = measure(arguments, Path(name))
    if arguments.json:
        _add(Path(arguments.json), found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10)
    parser.add_argument("--delay", type=float, default=20, help="of the upstream, in milliseconds")
    parser.add_argument("--rates", type=float, nargs="+", default=[200, 500, 1000, 1500], help="per second")
    parser.add_argument("--calibrate", type=float, default=1000, help="the rate to calibrate at, one of them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="per measurement")
    parser.add_argument("--costs", action="store_true", help="measure the store and the cache instead")
    parser.add_argument("--waking", action="store_true", help="measure how the cost changes with the rate instead")
    parser.add_argument("--json", metavar="FILE", help="add the figures to this file")
    return parser.parse_args()


@contextmanager
def _gateway(folder: Path, label: str, workers: int, **sections: Any) -> Iterator[Server]:
    tree = yaml.safe_load((HERE / "gateway.yaml").read_text())
    tree["auth"]["keys"][0] |= sections.pop("key", {})
    config = folder / f"{label}.yaml"
    config.write_text(yaml.safe_dump(tree | sections))
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(config), "--port", str(PORT)]
    server = Server(label, [*command, "--workers", str(workers)], PORT, "/readyz", CORES)
    try:
        yield server
    finally:
        server.stop()


def _check(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The model beside what was measured."""
    rounds, background = _rounds(arguments, folder)
    check = _compare(arguments, rounds, background)
    _print(check)
    return {f"check_{arguments.documents}": msgspec.to_builtins(check)}


def _waking(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """CPU time at each rate, as a multiple of what it is when the workers have all they can do: medians."""
    rounds, _ = _rounds(arguments, folder)
    medians = [_medians([points[number] for points in rounds]) for number in range(len(arguments.rates) + 1)]
    *points, saturated = medians
    found = [
        {"rate": point.rate / WORKERS, "busy": round(_busy(point), 3), "ratio": round(point.cpu / saturated.cpu, 3)}
        for point in points
    ]
    print(json.dumps(found))
    return {"waking": {"documents": arguments.documents, "rounds": arguments.rounds, "points": found}}


def _rounds(arguments: argparse.Namespace, folder: Path) -> tuple[list[list[Point]], float]:
    """A point for each rate, and one for saturation, in each round; and what the server takes without a request."""
    upstream = Upstream(folder)
    with ExitStack() as running:
        running.callback(upstream.stop)
        upstream.serve(arguments.documents, arguments.delay)
        server = running.enter_context(_gateway(folder, "two", WORKERS))
        body = load.body(folder, arguments.documents, None)
        program, request = stacks.compile_c(folder, "openloop"), load.request(folder, body)
        load.closed_loop(server, PORT, body, CONNECTIONS, 1)
        background = _background(server)
        rounds = []
        for _ in range(arguments.rounds):
            points = []
            for rate in arguments.rates:
                with _Stretch(server) as stretch:
                    figures = load.open_loop(program, server, PORT, request, rate, arguments.seconds, CORES)
                points.append(_point(rate, figures, stretch, background))
            with _Stretch(server) as stretch:
                figures = load.closed_loop(server, PORT, body, CONNECTIONS * 4, arguments.seconds)
            rounds.append([*points, _point(figures.rate, figures, stretch, background)])
    return rounds, background


def _background(server: Server) -> float:
    """CPU seconds that the server takes in a second without any request."""
    before = server.cpu_seconds()
    time.sleep(BACKGROUND_SECONDS)
    return (server.cpu_seconds() - before) / BACKGROUND_SECONDS


class _Stretch:
    """How much longer than its CPU time a server's processes took, by the kernel's account of waits for a core."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.value = 1.0

    def __enter__(self) -> _Stretch:
        self._before = self._server.scheduled_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        ran, waited = (
            after - before for after, before in zip(self._server.scheduled_seconds(), self._before, strict=True)
        )
        self.value = (ran + waited) / ran


def _point(rate: float, figures: Figures, stretch: _Stretch, background: float) -> Point:
    cpu = (figures.cpu or 0.0) - background / figures.rate * 1e6
    point = Point(rate, cpu, stretch.value, figures.p50, figures.p99)
    print(
        f"{rate:7,.0f}/s {point.cpu:5.0f} CPU-µs, p50 {point.p50 / 1000:.2f} ms, p99 {point.p99 / 1000:.2f} ms, "
        f"stretched {point.stretch:.2f} times, {figures.errors} errors",
        flush=True,
    )
    return point


def _compare(arguments: argparse.Namespace, rounds: list[list[Point]], background: float) -> Check:
    """Each round is calibrated by itself: what neighbours do to the machine changes from one to the next."""
    chosen = arguments.rates.index(arguments.calibrate)
    services = [_calibrate(points[chosen], _expected(arguments.documents)) for points in rounds]
    rests = [_rest(points[chosen], service) for points, service in zip(rounds, services, strict=True)]
    open_loop = [
        _predict([points[number] for points in rounds], services, rests) for number in range(len(arguments.rates))
    ]
    return Check(
        arguments.documents,
        arguments.delay,
        arguments.rounds,
        arguments.calibrate,
        statistics.median(service.seconds for service in services) * 1e6,
        background,
        open_loop,
        _predict_saturation([points[-1] for points in rounds], services),
    )


def _rest(point: Point, service: Service) -> float:
    """Seconds of the median that are not the gateway's: the upstream, the kernel, the load."""
    delays = simulate(_queue(point, service), SIMULATED)
    return point.p50 / 1e6 - delays.p50 if delays else float("nan")


def _queue(point: Point, service: Service) -> Queue:
    """The queue as the neighbours leave it: everything takes longer by as much as workers waited for a core."""
    return Queue(point.rate, WORKERS, _slower(service, point.stretch))


def _slower(service: Service, times: float) -> Service:
    """The same where all work takes so many times as long. How soon caches are lost, others decide."""
    return Service(
        service.seconds * times,
        service.spread,
        service.wake_seconds * times,
        service.cold_seconds * times,
        service.cool_seconds,
    )


def _predict(points: list[Point], services: list[Service], rests: list[float]) -> Prediction:
    cpu, p50, p99 = [], [], []
    for point, service, rest in zip(points, services, rests, strict=True):
        queue = _queue(point, service)
        delays = simulate(queue, SIMULATED)
        used = queue.utilisation * WORKERS / point.rate / point.stretch if delays else service.seconds
        cpu.append(used * 1e6 / point.cpu)
        if delays and rest == rest:
            p50.append(1e6 * (rest + delays.p50) / point.p50)
            p99.append(1e6 * (rest + delays.p99) / point.p99)
    overloaded = len(points) - len(p50)
    return Prediction(_medians(points), overloaded, statistics.median(cpu), None, _median(p50), _median(p99))


def _predict_saturation(points: list[Point], services: list[Service]) -> Prediction:
    pairs = list(zip(points, services, strict=True))
    cpu = statistics.median(service.seconds * 1e6 / point.cpu for point, service in pairs)
    rate = statistics.median(WORKERS / service.seconds / point.stretch / point.rate for point, service in pairs)
    return Prediction(_medians(points), 0, cpu, rate)


def _medians(points: list[Point]) -> Point:
    return Point(*(statistics.median(getattr(one, name) for one in points) for name in Point.__struct_fields__))


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def _expected(documents: int) -> Service:
    """What the package's table of costs says of such requests."""
    demand = Demand(rate=1, documents=documents, document_bytes=DOCUMENT_BYTES, spread=0)
    return gateway_work(demand, shipped()).service


def _calibrate(point: Point, expected: Service) -> Service:
    """The service that explains one point: the expected one on a machine that is so many times as slow."""
    waking = (1 - _busy(point)) * expected.mean_wake(WORKERS / point.rate)
    return _slower(expected, point.cpu / 1e6 / (expected.seconds + waking))


def _busy(point: Point) -> float:
    """Share of the time in which a worker had something to do."""
    return min(1.0, point.rate * point.cpu * point.stretch / 1e6 / WORKERS)


def _print(check: Check) -> None:
    print(
        f"{check.documents} documents, calibrated at {check.calibration_rate:,.0f} requests/s in each round: "
        f"{check.service:.0f} CPU-µs where the worker is never idle; {check.background:.1%} of a core without a request"
    )
    print("medians, and how far off the model is (the median of the rounds):")
    for one in [*check.predictions, check.saturation]:
        point = one.measured
        cells = [f"{point.rate:7,.0f}/s, stretched {point.stretch:5.2f}: {point.cpu:5.0f} CPU-µs {_off(one.cpu)}"]
        cells.append(f"p50 {point.p50 / 1000:7.2f} ms {_off(one.p50)}, p99 {point.p99 / 1000:7.2f} ms {_off(one.p99)}")
        cells.append(f"throughput {_off(one.throughput)}" if one.throughput else f"overloaded: {one.overloaded}")
        print(", ".join(cells))


def _off(ratio: float | None) -> str:
    return "" if ratio is None else f"({ratio - 1:+.0%})"


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one call": STORE | {"key": {"limits": {"requests": "1000000000/hour"}}},
    "two calls": STORE | {"key": {"limits": {"requests": "1000000000/hour", "concurrency": 100_000}}},
    "memory cache": {"cache": {}},
    "shared cache": STORE | {"cache": {"shared": True, "secret": "x" * 32}},
}


def _costs(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """CPU time with each of VARIANTS, as a multiple of `plain` in the same round; medians of the rounds."""
    upstream = Upstream(folder)
    ratios: dict[str, list[float]] = {label: [] for label in (*VARIANTS, "valkey")}
    with ExitStack() as running:
        running.callback(upstream.stop)
        upstream.serve(arguments.documents, 0)
        store = running.enter_context(_valkey(folder))
        body = load.body(folder, arguments.documents, None)
        for _ in range(arguments.rounds):
            cpu = {label: _variant(arguments, folder, label, body, store) for label in VARIANTS}
            plain = cpu["plain"][0]
            for label, (gateway_cpu, _) in cpu.items():
                ratios[label].append(gateway_cpu / plain)
            ratios["valkey"].append(cpu["two calls"][1] / plain)
            print(json.dumps({label: round(values[-1], 2) for label, values in ratios.items()}), flush=True)
    medians = {label: round(statistics.median(values), 3) for label, values in ratios.items()}
    return {"costs": {"documents": arguments.documents, "rounds": arguments.rounds, "ratios": medians}}


def _variant(arguments: argparse.Namespace, folder: Path, label: str, body: Path, store: Server) -> tuple[float, float]:
    """CPU-µs per request, of the gateway and of the store. No request is like another: caches find nothing."""
    with _gateway(folder, label.replace(" ", "-"), 1, **VARIANTS[label]) as server:
        before, began = store.cpu_seconds(), server.cpu_seconds()
        figures = load.closed_loop(server, PORT, body, CONNECTIONS, arguments.seconds, unique=True)
        # The store was busy in the warm-up too, as the gateway was.
        share = (store.cpu_seconds() - before) / (server.cpu_seconds() - began)
    cpu = figures.cpu or 0.0
    return cpu, cpu * share


@contextmanager
def _valkey(folder: Path) -> Iterator[Server]:
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        sys.exit("valkey-server is missing: install your system's valkey or redis-server package")
    command = [program, "--port", str(STORE_PORT), "--save", "", "--appendonly", "no", "--dir", str(folder)]
    server = Server("valkey", command, STORE_PORT, cores=CORES)
    try:
        yield server
    finally:
        server.stop()


def _add(path: Path, found: dict[str, Any]) -> None:
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | found, indent=1) + "\n")


if __name__ == "__main__":
    main()
