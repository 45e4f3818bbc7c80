"""What all tests share: no network but loopback, an upstream to answer, gateways in this process or in their own."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import yaml

ROOT = Path(__file__).parent.parent
START_LIMIT = 90.0
"""Seconds a gateway process may take to be ready; never waited for in full unless something is broken."""

_violations: list[str] = []


def _is_loopback(host: Any) -> bool:
    if host is None or host in ("", b"", "localhost", b"localhost"):
        return True
    text = host.decode() if isinstance(host, bytes) else str(host)
    try:
        address = ipaddress.ip_address(text.split("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook sees every socket of this process, whichever library opened it."""
    if event == "socket.getaddrinfo" and not _is_loopback(arguments[0]):
        # As on a machine without a network; names that must not resolve are a case that tests need.
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known (no network in tests)")
    if event not in ("socket.connect", "socket.sendto") or not isinstance(arguments[1], tuple):
        return
    if not _is_loopback(arguments[1][0]):
        _violations.append(f"{event} {arguments[1]}")
        raise OSError(f"no network in tests: {arguments[1]}")


sys.addaudithook(_guard)
# Whatever a test starts must not ask a model hub either, nor take the developer's own settings.
os.environ.update({"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})
for _name in [name for name in os.environ if name.endswith(("_API_KEY", "_PROXY", "_proxy"))]:
    del os.environ[_name]
os.environ.pop("RERANK_GATEWAY_CONFIG", None)


@pytest.fixture(autouse=True)
def only_loopback() -> Iterator[None]:
    """Fails any test that tried to reach something else, even if the code under test swallowed the refusal."""
    _violations.clear()
    yield
    assert not _violations


class Upstream:
    """A vendor on loopback: answers what the test says, and remembers what it was asked.

    Attributes:
        url: where it listens, without a path.
        asked: every request so far: method, path, headers (lower case), body (decoded JSON).
        answer: decides on each request: (status, body, headers). A body that is not bytes goes out as JSON.
        release: cleared, answers wait until it is set again.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], tuple[int, Any, dict[str, str]]] = ranked
        self.release = threading.Event()
        self.release.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _replier(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def says(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        """From now on, give this answer."""
        self.answer = lambda asked: (status, body, headers or {})

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Asked(msgspec.Struct):
    """One request as the upstream saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


def ranked(asked: Asked) -> tuple[int, Any, dict[str, str]]:
    """Cohere's, Jina's, vLLM's and Voyage's shape at once; who shares more words with the query comes first."""
    words = set(str(asked.body["query"]).lower().split())
    documents = [str(document).lower().split() for document in asked.body["documents"]]
    scores = [len(words & set(document)) / (1 + len(document)) for document in documents]
    rows = [{"index": index, "relevance_score": score} for index, score in enumerate(scores)]
    rows.sort(key=lambda row: (-row["relevance_score"], row["index"]))
    limit = asked.body.get("top_n") or asked.body.get("top_k") or len(rows)
    return 200, {"id": "upstream-id", "results": rows[:limit], "data": rows[:limit]}, {}


def _replier(upstream: Upstream) -> type[BaseHTTPRequestHandler]:
    class Replier(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, json.loads(raw) if raw else None)
            upstream.asked.append(asked)
            status, body, extra = upstream.answer(asked)
            upstream.release.wait(30)
            self._reply(status, body if isinstance(body, bytes) else json.dumps(body).encode(), extra)

        def _reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"content-type": "application/json", **headers, "content-length": len(body)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Silence."""

    return Replier


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """One vendor on loopback."""
    server = Upstream()
    yield server
    server.close()


@pytest.fixture(scope="session")
def upstreams() -> Iterator[Callable[[], Upstream]]:
    """A maker of vendors on loopback, for tests that need several."""
    servers: list[Upstream] = []

    def make() -> Upstream:
        servers.append(Upstream())
        return servers[-1]

    yield make
    for server in servers:
        server.close()


Open = Callable[[dict[str, Any]], Awaitable[httpx.AsyncClient]]


async def _serve(settings: dict[str, Any], ready: asyncio.Future[httpx.AsyncClient], close: asyncio.Event) -> None:
    """In a task of its own: a fixture is set up and torn down in two, which a lifespan does not survive."""
    from gateway.config.loader import from_tree
    from gateway.server import app

    application = app.create(from_tree(settings))
    transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)  # type: ignore[arg-type]
    async with application.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        ready.set_result(client)
        await close.wait()


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Open a gateway in this process from a configuration's tree, without a port; gives a client of it."""
    close = asyncio.Event()
    running: list[asyncio.Task[None]] = []

    async def open_gateway(settings: dict[str, Any]) -> httpx.AsyncClient:
        ready: asyncio.Future[httpx.AsyncClient] = asyncio.get_running_loop().create_future()
        running.append(asyncio.create_task(_serve(settings, ready, close)))
        await asyncio.wait({ready, running[-1]}, return_when=asyncio.FIRST_COMPLETED)
        if running[-1].done():
            await running.pop()
        return ready.result()

    yield open_gateway
    close.set()
    await asyncio.gather(*running)


class Process:
    """A gateway as users run it: `rerank-gateway serve` in a process of its own.

    Attributes:
        url: where it listens; known once it said that it is ready.
        output: what it printed so far.
    """

    def __init__(self, arguments: list[str], environ: dict[str, str], cwd: Path) -> None:
        self.output = ""
        self.url = ""
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, text: str) -> str:
        """The first new line that holds the text."""
        while (line := self._lines.get(timeout=START_LIMIT)) is not None:
            if text in line:
                return line
        raise AssertionError(f"it never said {text!r}, but:\n{self.output}")

    def wait_until_ready(self) -> None:
        self.url = self.wait_for("is ready on ").split(" is ready on ")[1].split()[0]

    def wait(self) -> int:
        """Its exit status, when it ends by itself."""
        status = self.popen.wait(START_LIMIT)
        self._reader.join()
        return status

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Ask it to stop. Gives its exit status."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal_number)
        try:
            return self.wait()
        finally:
            self.popen.kill()
            assert self.popen.stdout is not None
            self.popen.stdout.close()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.output += line
            self._lines.put(line)
        self._lines.put(None)


@pytest.fixture(scope="session")
def start_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Process]]:
    """Start a gateway process from a configuration's tree (None: no file) and further arguments; any free port."""
    started: list[Process] = []

    def start(settings: dict[str, Any] | None, *arguments: str, environ: dict[str, str] | None = None) -> Process:
        folder = tmp_path_factory.mktemp("gateway")
        given = list(arguments)
        if settings is not None:
            (folder / "gateway.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
            given = ["--config", "gateway.yaml", *given]
        if "--port" not in given:
            given += ["--port", "0"]
        started.append(Process(given, environ or {}, folder))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.fixture(scope="session")
def embedded(start_gateway: Callable[..., Process]) -> str:
    """The URL of a running gateway with the embedded model, the one that a newcomer starts; one for the whole run."""
    process = start_gateway(None)
    process.wait_until_ready()
    return process.url
