"""Measure a request that is more than one call takes: split, beside the same list in one call.

    python -m benchmarks.split                                   2,500 documents through a target limited to 1,000
    python -m benchmarks.split --documents 10000 --limit 1000 --delay 200

One gateway on one core, one request at a time from another. The upstream needs a time for each document, as one that
computes on them does, and answers calls side by side; `--each 0` leaves only its fixed delay.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

import yaml

from benchmarks import stacks
from benchmarks.stacks import HERE, KEY, Server

PORT, UPSTREAM_PORT = 8471, 8472
WORDS = "the quick brown fox jumps over the lazy dog and runs into the wood where it is dark "


def main() -> None:
    arguments = _arguments()
    threading.Thread(target=asyncio.run, args=[_upstream(arguments.delay, arguments.each)], daemon=True).start()
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        servers = {}
        for number, (label, limit) in enumerate((("one call", arguments.documents), ("split", arguments.limit))):
            servers[label] = _gateway(Path(name), label, limit, PORT + 2 * number)
            running.callback(servers[label].stop)
        _print(arguments, {label: [] for label in servers} | _rounds(arguments, servers), servers)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=2500)
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--characters", type=int, default=500, help="of each document")
    parser.add_argument("--delay", type=float, default=50, help="of the upstream, in milliseconds")
    parser.add_argument("--each", type=float, default=0.2, help="milliseconds more for each document")
    parser.add_argument("--rounds", type=int, default=30)
    return parser.parse_args()


def _gateway(folder: Path, label: str, limit: int, port: int) -> Server:
    tree = yaml.safe_load((HERE / "gateway.yaml").read_text())
    known = {"*": {"scoring": "pointwise", "limits": {"documents": limit}}}
    tree["providers"]["cohere"] |= {"base_url": f"http://127.0.0.1:{UPSTREAM_PORT}", "capabilities": known}
    config = folder / f"{label.replace(' ', '-')}.yaml"
    config.write_text(yaml.safe_dump(tree))
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(config), "--port", str(port)]
    return Server(label, command, port, "/readyz")


async def _upstream(delay: float, each: float) -> None:
    """Rank any list after a time, in the order given."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(head.partition("content-length:")[2].partition("\r\n")[0])
                count = len(json.loads(await reader.readexactly(length))["documents"])
                await asyncio.sleep((delay + each * count) / 1000)
                rows = [{"index": index, "relevance_score": 1 / (index + 2)} for index in range(count)]
                body = json.dumps({"results": rows}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        except asyncio.IncompleteReadError:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", UPSTREAM_PORT, limit=2**20) as server:
        await server.serve_forever()


def _rounds(arguments: argparse.Namespace, servers: dict[str, Server]) -> dict[str, list[tuple[float, float]]]:
    text = (WORDS * (arguments.characters // len(WORDS) + 1))[: arguments.characters]
    documents = [f"{index} {text}" for index in range(arguments.documents)]
    body = json.dumps({"model": "cohere/m", "query": "what does the fox do", "documents": documents}).encode()
    found: dict[str, list[tuple[float, float]]] = {label: [] for label in servers}
    for _ in range(arguments.rounds + 1):
        for label, server in servers.items():
            found[label].append(_ask(server, body, arguments.documents))
    return {label: figures[1:] for label, figures in found.items()}


def _ask(server: Server, body: bytes, documents: int) -> tuple[float, float]:
    """Milliseconds until the answer was there, and of CPU time of the gateway."""
    connection = HTTPConnection("127.0.0.1", server.port)
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    cpu, start = server.cpu_seconds(), time.perf_counter()
    connection.request("POST", "/v1/rerank", body, headers)
    answer = connection.getresponse()
    read = answer.read()
    took, used = time.perf_counter() - start, server.cpu_seconds() - cpu
    connection.close()
    if answer.status != 200 or len(json.loads(read)["results"]) != documents:
        raise RuntimeError(f"{server.name} answered {answer.status}: {read[:200]!r}")
    return took * 1000, used * 1000


def _print(
    arguments: argparse.Namespace, rounds: dict[str, list[tuple[float, float]]], servers: dict[str, Server]
) -> None:
    calls = {"one call": 1, "split": -(-arguments.documents // arguments.limit)}
    for label in servers:
        took = sorted(figure for figure, _ in rounds[label])
        cpu = statistics.mean(figure for _, figure in rounds[label])
        print(
            f"{label:8} {calls[label]} calls: median {statistics.median(took):.0f} ms "
            f"({took[0]:.0f} to {took[-1]:.0f}), {cpu:.1f} CPU-ms in the gateway"
        )


if __name__ == "__main__":
    if problems := stacks.missing([]):
        sys.exit("\n".join(problems))
    main()
