"""Measure the cost of a request to the gateway, to nginx (the floor), to a bare pass-through and to LiteLLM's proxy.

    python -m benchmarks.gateway                      every stack that is installed, the standard cases
    python -m benchmarks.gateway --stacks gateway nginx --documents 10 --concurrency 32 --rounds 1
    python -m benchmarks.gateway --delay 50 --concurrency 128 --documents 10
    python -m benchmarks.gateway --open-loop          latency at half of each stack's own saturation

Needs Linux with two cores, cc, wrk and (for that stack) nginx. Servers are pinned to core 0, the load generator and
the C upstream to core 1, everything on loopback. Stacks take turns within each round; the table shows the medians.
CPU-µs is the CPU time of the server's process tree divided by the requests, the lowest of the rounds: whatever else the
machine does only adds to it, so it is the figure that survives a noisy machine.
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import load, stacks
from benchmarks.load import Figures
from benchmarks.stacks import STACKS, UPSTREAM_PORT, Server, Upstream

DIRECT = "upstream"
"""The upstream itself, without anything in between: what latencies are compared with."""


class Case(msgspec.Struct, frozen=True):
    """What is asked: `characters` per document (None: 200 to 500), `delay` of the upstream in milliseconds."""

    documents: int
    characters: int | None
    concurrency: int
    delay: float
    open_loop: bool = False


class Row(msgspec.Struct):
    """The medians (CPU: the least) of one stack in one case; `added_*` is against the upstream itself, same round."""

    stack: str
    case: Case
    figures: Figures
    added_p50: float | None
    added_p99: float | None


def main() -> None:
    arguments = _arguments()
    if problems := stacks.missing(arguments.stacks):
        sys.exit("\n".join(problems))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped then, too
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder = Path(name)
        folder.chmod(0o755)
        upstream = Upstream(folder)
        running.callback(upstream.stop)
        upstream.serve(10, 0)
        servers: dict[str, Server | None] = {DIRECT: None}
        for stack in arguments.stacks:
            server = servers[stack] = STACKS[stack](folder)
            running.callback(server.stop)
        rows = list(_rows(arguments, folder, upstream, servers))
    report = {"start": _start(servers), "rows": msgspec.to_builtins(rows)}
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n")
    if arguments.plot:
        from benchmarks.plot import draw

        draw(rows, Path(arguments.plot))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    installed = [name for name in STACKS if not stacks.missing([name])]
    parser.add_argument("--stacks", nargs="+", choices=list(STACKS), default=installed or list(STACKS))
    parser.add_argument("--documents", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--characters", type=int, help="per document; default 200 to 500")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 32, 128])
    parser.add_argument("--delay", type=float, default=0, help="of the upstream, in milliseconds")
    parser.add_argument("--open-loop", action="store_true", help="latency at half of each stack's saturation")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="per measurement")
    parser.add_argument("--json", metavar="FILE", help="write all figures")
    parser.add_argument("--plot", metavar="FILE", help="draw the CPU cost at concurrency 32")
    return parser.parse_args()


def _rows(
    arguments: argparse.Namespace, folder: Path, upstream: Upstream, servers: dict[str, Server | None]
) -> Iterator[Row]:
    _print_start(servers)
    for documents, concurrency in itertools.product(arguments.documents, arguments.concurrency):
        case = Case(documents, arguments.characters, concurrency, arguments.delay, arguments.open_loop)
        upstream.serve(documents, arguments.delay)
        content = load.body(folder, documents, arguments.characters)
        measured: dict[str, list[Figures]] = {name: [] for name in servers}
        baseline: dict[str, list[Figures]] = {name: [] for name in servers}
        for _ in range(arguments.rounds):
            if arguments.open_loop:
                _open_round(arguments, folder, servers, content, case, measured, baseline)
            else:
                _closed_round(arguments, servers, content, case, measured, baseline)
        rows = [_row(name, case, measured[name], baseline[name]) for name in servers if measured[name]]
        _print(case, rows, content.stat().st_size)
        yield from rows


def _closed_round(
    arguments: argparse.Namespace,
    servers: dict[str, Server | None],
    content: Path,
    case: Case,
    measured: dict[str, list[Figures]],
    baseline: dict[str, list[Figures]],
) -> None:
    for name, server in servers.items():
        port = server.port if server else UPSTREAM_PORT
        measured[name].append(load.closed_loop(server, port, content, case.concurrency, arguments.seconds))
        baseline[name].append(measured[DIRECT][-1])


def _open_round(
    arguments: argparse.Namespace,
    folder: Path,
    servers: dict[str, Server | None],
    content: Path,
    case: Case,
    measured: dict[str, list[Figures]],
    baseline: dict[str, list[Figures]],
) -> None:
    program = stacks.compile_c(folder, "openloop")
    request = load.request(folder, content)
    for name, server in servers.items():
        if server is None:
            continue
        saturation = load.closed_loop(server, server.port, content, case.concurrency, 1).rate
        rate, seconds = saturation / 2, arguments.seconds
        measured[name].append(load.open_loop(program, server, server.port, request, rate, seconds))
        baseline[name].append(load.open_loop(program, None, UPSTREAM_PORT, request, rate, seconds))


def _row(name: str, case: Case, measured: list[Figures], baseline: list[Figures]) -> Row:
    figures = Figures(
        **{field: _median(getattr(one, field) for one in measured) for field in Figures.__struct_fields__}
    )
    figures.errors = sum(one.errors for one in measured)
    if figures.cpu is not None:
        figures.cpu = min(one.cpu for one in measured if one.cpu is not None)
    if name == DIRECT:
        return Row(name, case, figures, None, None)
    pairs = list(zip(measured, baseline, strict=True))
    added_p50 = _median(one.p50 - none.p50 for one, none in pairs)
    return Row(name, case, figures, added_p50, _median(one.p99 - none.p99 for one, none in pairs))


def _median(values: Iterable[Any]) -> Any:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _start(servers: dict[str, Server | None]) -> dict[str, dict[str, float]]:
    return {
        name: {"start_seconds": server.start_seconds, "idle_megabytes": server.idle_megabytes}
        for name, server in servers.items()
        if server
    }


def _print_start(servers: dict[str, Server | None]) -> None:
    for name, figures in _start(servers).items():
        print(f"{name:9} ready after {figures['start_seconds']:.2f} s, {figures['idle_megabytes']:.0f} MB idle")


def _print(case: Case, rows: list[Row], size: int) -> None:
    kind = "open loop at half of saturation" if case.open_loop else f"concurrency {case.concurrency}"
    print(f"\n{case.documents} documents, {size:,} bytes, {kind}, upstream delay {case.delay:g} ms")
    heads = (
        ("requests/s", 11),
        ("CPU-µs", 9),
        ("p50 µs", 10),
        ("p99 µs", 10),
        ("+p50 µs", 10),
        ("+p99 µs", 10),
        ("MB", 6),
    )
    print(" " * 9 + "".join(f"{head:>{width}}" for head, width in heads) + "  errors")
    for row in rows:
        figures = row.figures
        cells = [
            f"{figures.rate:11,.0f}",
            _cell(figures.cpu, 9),
            _cell(figures.p50, 10),
            _cell(figures.p99, 10),
            _cell(row.added_p50, 10),
            _cell(row.added_p99, 10),
            _cell(figures.megabytes, 6),
            f"{figures.errors:8}",
        ]
        print(f"{row.stack:9}{''.join(cells)}", flush=True)


def _cell(value: float | None, width: int) -> str:
    return " " * width if value is None else f"{value:{width},.0f}"


if __name__ == "__main__":
    main()
