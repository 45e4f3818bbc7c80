"""Measure what shadow calls cost the callers of a model: latency and CPU time without one, and with `share: 1`.

    python -m benchmarks.shadow                       10 documents, an upstream of 20 ms, at half of saturation
    python -m benchmarks.shadow --rounds 9 --rate 200 --delay 50

Two gateways on one core take turns over the same upstream; load comes open-loop from another core. The ratio of the
99th percentiles is taken within each round, and the median of the rounds is shown: neighbours disturb both alike.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import yaml

from benchmarks import load, stacks
from benchmarks.load import Figures
from benchmarks.stacks import HERE, Server, Upstream

CANDIDATE = {"target": "candidate/m", "share": 1.0}
NAME = "cohere/rerank-v3.5"
"""The model that the bodies of all benchmarks ask for: here a name of the configuration."""


def main() -> None:
    arguments = _arguments()
    if problems := stacks.missing([]):
        sys.exit("\n".join(problems))
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder = Path(name)
        upstream = Upstream(folder)
        running.callback(upstream.stop)
        upstream.serve(arguments.documents, arguments.delay)
        servers = {label: _gateway(folder, label, port) for label, port in (("alone", 8461), ("shadowed", 8465))}
        for server in servers.values():
            running.callback(server.stop)
        rounds = [_round(arguments, folder, servers) for _ in range(arguments.rounds)]
    _print(rounds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10)
    parser.add_argument("--delay", type=float, default=20, help="of the upstream, in milliseconds")
    parser.add_argument("--rate", type=float, default=200, help="requests per second")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=5, help="per measurement")
    return parser.parse_args()


def _gateway(folder: Path, label: str, port: int) -> Server:
    tree = yaml.safe_load((HERE / "gateway.yaml").read_text())
    tree["providers"]["candidate"] = {**tree["providers"]["cohere"], "adapter": "cohere"}
    shadow = {"shadow": CANDIDATE} if label == "shadowed" else {}
    tree["models"] = {NAME: {"target": NAME, **shadow}}
    config = folder / f"{label}.yaml"
    config.write_text(yaml.safe_dump(tree))
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(config), "--port", str(port)]
    return Server(label, command, port, "/readyz")


def _round(arguments: argparse.Namespace, folder: Path, servers: dict[str, Server]) -> dict[str, Figures]:
    program = stacks.compile_c(folder, "openloop")
    request = load.request(folder, load.body(folder, arguments.documents, None))
    return {
        label: load.open_loop(program, server, server.port, request, arguments.rate, arguments.seconds)
        for label, server in servers.items()
    }


def _print(rounds: list[dict[str, Figures]]) -> None:
    for label in rounds[0]:
        figures = [each[label] for each in rounds]
        p50, p99 = (statistics.median(getattr(each, name) for each in figures) / 1000 for name in ("p50", "p99"))
        cpu = min(each.cpu or 0.0 for each in figures)
        errors = sum(each.errors for each in figures)
        print(f"{label:9} p50 {p50:.2f} ms, p99 {p99:.2f} ms, {cpu:.0f} CPU-µs per request, {errors} errors")
    for name in ("p50", "p99"):
        ratios = [getattr(each["shadowed"], name) / getattr(each["alone"], name) for each in rounds]
        spread = f"rounds {min(ratios):.3f} to {max(ratios):.3f}"
        print(f"{name} with shadow calls / without: {statistics.median(ratios):.3f} ({spread})")


if __name__ == "__main__":
    main()
