"""What all tests share: no network but loopback, an upstream to answer, gateways in this process or in their own."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from httpx._config import DEFAULT_TIMEOUT_CONFIG
from hypothesis import HealthCheck, settings

from gateway.telemetry.logs import Formatter
from providers.local.builtin import store
from providers.local.builtin.catalogue import CROSS_ENCODER
from providers.spec import LocalModel
from providers.testing import ScriptedUpstream
from tests import installed_models
from tests.ports import free_port

ROOT = Path(__file__).parent.parent
START_LIMIT = 90.0
"""Seconds a gateway process may take to be ready; never waited for in full unless something is broken."""

OWN_NETWORK = os.environ.get("TESTS_OWN_NETWORK")
"""One that exists within the namespaces of these tests alone, as `10.77.0.0/24`; tests/ray_serve/run.py makes it."""

# How long examples take to make says how busy the machine is.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

_violations: list[str] = []


def _is_loopback(host: Any) -> bool:
    if host is None or host in ("", b"", "localhost", b"localhost"):
        return True
    text = host.decode() if isinstance(host, bytes) else str(host)
    try:
        address = ipaddress.ip_address(text.split("%")[0])
    except ValueError:
        return False
    is_own = OWN_NETWORK is not None and address in ipaddress.ip_network(OWN_NETWORK)
    return address.is_loopback or address.is_unspecified or is_own


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
# A process that shares two cores with others may take longer than httpx's 5 s; nothing is shown by giving up on it.
vars(DEFAULT_TIMEOUT_CONFIG).update(vars(httpx.Timeout(60.0)))
# Whatever a test starts must not ask a model hub either, nor take the developer's own settings.
os.environ.update({"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})
for _name in [name for name in os.environ if name.endswith(("_API_KEY", "_PROXY", "_proxy"))]:
    del os.environ[_name]
os.environ.pop("RERANK_GATEWAY_CONFIG", None)
# Nor may it matter which models the developer has installed; tests that need one ask for it.
os.environ[store.FOLDER_VARIABLE] = str(ROOT / "no-models-are-installed-here")


@pytest.fixture(autouse=True)
def only_loopback() -> Iterator[None]:
    """Fails any test that tried to reach something else, even if the code under test swallowed the refusal."""
    _violations.clear()
    yield
    assert not _violations


@pytest.fixture
def unused_tcp_port() -> int:
    """In place of that of pytest-asyncio, whose ports the system may give to a connection at any time."""
    return free_port()


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    """One vendor on loopback."""
    with ScriptedUpstream() as server:
        yield server


@pytest.fixture(scope="session")
def upstreams() -> Iterator[Callable[[], ScriptedUpstream]]:
    """A maker of vendors on loopback, for tests that need several."""
    with ExitStack() as servers:
        yield lambda: servers.enter_context(ScriptedUpstream())


@pytest.fixture(scope="session")
def cross_encoder() -> LocalModel:
    """The cross-encoder that comes with the gateway, in float32; skips where it is not installed."""
    folder = installed_models.FOLDER / CROSS_ENCODER.name
    if not installed_models.HAS_CROSS_ENCODER:
        pytest.skip(f"{CROSS_ENCODER.name} is not installed; run: rerank-gateway models install {CROSS_ENCODER.name}")
    name, sha256 = CROSS_ENCODER.name, CROSS_ENCODER.sha256
    return LocalModel(name=name, path=str(folder), sha256=sha256, dtype="float32", threads=1)


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
        config_file: where its configuration is, if it has a file.
    """

    def __init__(self, arguments: list[str], environ: dict[str, str], cwd: Path) -> None:
        self.config_file = cwd / "gateway.yaml"
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
def gateways() -> Iterator[list[Process]]:
    """The gateway processes that have been started, and not ended by `end_own_gateways`."""
    started: list[Process] = []
    yield started
    _end(started)


@pytest.fixture(autouse=True)
def end_own_gateways(gateways: list[Process]) -> Iterator[None]:
    """End what a test itself has started: it would compute beside all later tests. What fixtures started goes on."""
    others = list(gateways)
    yield
    _end([process for process in gateways if process not in others])
    gateways[:] = others


def _end(processes: list[Process]) -> None:
    for process in processes:
        process.stop(signal.SIGINT)  # Nothing is drained.


@pytest.fixture(scope="session")
def start_gateway(tmp_path_factory: pytest.TempPathFactory, gateways: list[Process]) -> Callable[..., Process]:
    """Start a gateway process from a configuration's tree (None: no file) and further arguments; any free port."""

    def start(settings: dict[str, Any] | None, *arguments: str, environ: dict[str, str] | None = None) -> Process:
        folder = tmp_path_factory.mktemp("gateway")
        given = list(arguments)
        if settings is not None:
            (folder / "gateway.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
            given = ["--config", "gateway.yaml", *given]
        if "--port" not in given:
            given += ["--port", "0"]
        gateways.append(Process(given, environ or {}, folder))
        return gateways[-1]

    return start


@pytest.fixture(scope="session")
def embedded(start_gateway: Callable[..., Process]) -> str:
    """The URL of a running gateway with the embedded model, the one that a newcomer starts; one for the whole run."""
    process = start_gateway(None)
    process.wait_until_ready()
    return process.url


@pytest.fixture(autouse=True)
def unconfigured_log() -> Iterator[None]:
    """Take back what a gateway in the process of the tests does to the root logger: others print to it, too."""
    yield
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler.formatter, Formatter)]
