"""Whoever is signalled, and when: what is under way is finished, the port is free, the status is 0 (Ctrl-C: 130)."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.faults.server import GOOD, of
from tests.gateway.server.callers import address_of, raw_request, wait_until
from tests.gateway.server.test_workers import workers_of

ROOT = Path(__file__).parents[3]
ASK = {"model": "up/m", "query": "q", "documents": ["a", "b"]}


class Exchange:
    """A request that the gateway has passed on, and that the upstream has not answered yet."""

    def __init__(self, start_ready: Callable[..., Any], upstream: socket.socket, workers: str = "2") -> None:
        url = f"http://127.0.0.1:{upstream.getsockname()[1]}/v1/rerank"
        provider = {"adapter": "jina", "base_url": url, "proxy": "none"}
        settings = {"server": {"drain": 0.0, "shutdown_timeout": 20.0}, "providers": {"up": provider}}
        self.gateway = start_ready(settings, "--workers", workers)
        self.address = address_of(self.gateway.url)
        self.processes = [self.gateway.popen.pid, *workers_of(self.gateway)]
        self.caller = socket.create_connection(self.address, timeout=60)
        self.caller.sendall(raw_request(ASK))
        self._upstream, _ = upstream.accept()
        self._upstream.recv(65536)

    def answer(self) -> bytes:
        """Answer as the upstream, and give what the caller gets."""
        with closing(self._upstream), closing(self.caller):
            self._upstream.sendall(of(GOOD))
            return self.caller.recv(65536)

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(self.address) == 0


@pytest.fixture
def upstream() -> Iterator[socket.socket]:  # type: ignore[override]  # in place of the one that all tests share
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        yield listener


SIGNALLED: dict[str, Callable[[list[int]], list[int]]] = {
    "the supervisor alone": lambda pids: pids[:1],
    "the supervisor first": lambda pids: pids,
    "the workers first": lambda pids: pids[::-1],
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("order", SIGNALLED.values(), ids=SIGNALLED.keys())
def test_what_is_under_way_is_finished_whoever_is_signalled(
    order: Callable[[list[int]], list[int]], number: int, start_ready: Callable[..., Any], upstream: socket.socket
) -> None:
    exchange = Exchange(start_ready, upstream)
    for pid in order(exchange.processes):
        os.kill(pid, number)
    wait_until(lambda: not exchange.listens())
    assert exchange.answer().startswith(b"HTTP/1.1 200")
    assert exchange.gateway.wait() == (130 if number == signal.SIGINT else 0)
    assert "Traceback" not in exchange.gateway.output


def test_workers_alone_are_not_stopped_by_signals(start_ready: Callable[..., Any], upstream: socket.socket) -> None:
    exchange = Exchange(start_ready, upstream)
    for pid in exchange.processes[1:]:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    assert exchange.answer().startswith(b"HTTP/1.1 200")
    assert exchange.listens()
    assert workers_of(exchange.gateway) == exchange.processes[1:]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_signal_does_not_wait(workers: str, start_ready: Callable[..., Any], upstream: socket.socket) -> None:
    exchange = Exchange(start_ready, upstream, workers)
    exchange.gateway.popen.send_signal(signal.SIGTERM)
    wait_until(lambda: not exchange.listens())
    exchange.gateway.popen.send_signal(signal.SIGTERM)
    assert exchange.gateway.wait() == 0
    exchange.answer()


def test_workers_end_with_a_killed_supervisor(start_ready: Callable[..., Any], upstream: socket.socket) -> None:
    exchange = Exchange(start_ready, upstream)
    exchange.gateway.popen.kill()
    wait_until(lambda: not exchange.listens())
    with socket.create_server(exchange.address):
        assert exchange.answer().startswith(b"HTTP/1.1 200")
    for pid in exchange.processes[1:]:
        wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists())  # type: ignore[misc]


def catches_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) & 1 << signal.SIGTERM - 1)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_while_starting_is_success(start_gateway: Callable[..., Any], workers: str) -> None:
    gateway = start_gateway({"providers": {"passthrough": {}}}, "--workers", workers)
    wait_until(lambda: catches_sigterm(gateway.popen.pid))
    gateway.popen.send_signal(signal.SIGTERM)
    assert gateway.wait() == 0
    assert "Traceback" not in gateway.output


def test_process_1_hears_sigterm_while_starting(tmp_path: Path) -> None:
    """The kernel drops signals that process 1 of a container has no action for."""
    container = ["unshare", "--pid", "--fork", "--kill-child"]
    if not shutil.which("unshare") or subprocess.run([*container, "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("this machine does not let us make a container")
    command = [*container, sys.executable, "-m", "gateway", "serve", "--port", "0"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.DEVNULL) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until(lambda: children.read_text(encoding="ascii"))
        first = int(children.read_text(encoding="ascii"))
        wait_until(lambda: catches_sigterm(first))
        os.kill(first, signal.SIGTERM)
        assert process.wait(60) == 0
