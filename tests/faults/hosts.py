"""Hosts joined by cables: network namespaces and veth pairs, without root where the kernel lets users have namespaces.

Each host has a cable to one more namespace, in which the store lives:

    host 1: gateways, an upstream, a caller ── 10.77.1.2 │ 10.77.1.1 ── the store, at 10.77.0.1
    host 2: gateways, an upstream, a caller ── 10.77.2.2 │ 10.77.2.1 ─┘
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

from tests.faults.host_programs import UPSTREAM_PORT
from tests.gateway.access import servers

ROOT = Path(__file__).parents[2]
STORE_ADDRESS = "10.77.0.1"
PASSWORD = "of-the-tests"
STORE_URL = f"redis://:{PASSWORD}@{STORE_ADDRESS}:6379/0"
START_LIMIT = 90.0
"""Seconds until a process is up; never waited for in full unless something is broken."""

IS_ROOT = os.geteuid() == 0
_USER = [] if IS_ROOT else ["--user", "--map-root-user"]


def missing() -> str:
    """Why there can be no hosts here; "" if there can."""
    if lacking := [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]:
        return f"there is no {lacking[0]} here"
    if servers.binary() is None:
        return "no valkey-server or redis-server on this machine"
    probe = ["unshare", *_USER, "--net", "ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1"]
    if subprocess.run(probe, capture_output=True).returncode != 0:
        return "no network namespaces can be made here"
    return ""


class Running:
    """A process in a namespace, that is stopped at the end.

    Args:
        command: what to run.
        announcement: what it prints when it is up.
    """

    def __init__(self, command: list[str], announcement: str = "up", folder: Path | None = None) -> None:
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.popen = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ,
            cwd=folder or ROOT,
        )  # fmt: skip
        self._said = ""
        self._command, self._announcement = command, announcement
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self) -> Running:
        """Wait until it is up."""
        while self._announcement not in self._said:
            line = self.read()
            assert line, f"{self._command} ended and said: {self._said}"
            self._said += line
        return self

    def write(self, line: str) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()

    def read(self) -> str:
        """The next line that it prints; "" if it has ended."""
        return self._lines.get(timeout=START_LIMIT)

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(20)
        finally:
            self.popen.kill()
            self._reader.join(20)
            for pipe in (self.popen.stdin, self.popen.stdout):
                with suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]  # both were asked for

    def _read(self) -> None:
        # Whatever it prints must be taken, or it waits in its logging when the pipe is full.
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self._lines.put(line)
        self._lines.put("")


class Namespace:
    """A network of its own, which lives as long as the process that holds it."""

    def __init__(self, within: list[str], stack: ExitStack) -> None:
        holder = Running([*within, "--net", "sh", "-c", "echo up; exec sleep 600"])
        stack.callback(holder.stop)
        holder.wait()
        self.pid = holder.popen.pid
        self._stack = stack
        self.do("ip link set lo up")

    @property
    def inside(self) -> list[str]:
        """What stands before a command that shall run there."""
        user = [] if IS_ROOT else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", str(self.pid), *user, "--net"]

    def do(self, command: str) -> None:
        subprocess.run([*self.inside, *command.split()], check=True, capture_output=True, timeout=20)

    def run(self, command: list[str], announcement: str = "up", folder: Path | None = None) -> Running:
        """Begin to run it there, until the end."""
        running = Running([*self.inside, *command], announcement, folder)
        self._stack.callback(running.stop)
        return running


class Answer(Struct):
    """What a caller got: as in HTTP, and after how many seconds."""

    status: int
    headers: dict[str, str]
    body: Any
    seconds: float

    @property
    def left(self) -> int | None:
        """How many requests are left of the tightest limit; None where none was counted."""
        told = self.headers.get("x-ratelimit-remaining-requests")
        return None if told is None else int(told)


class Host:
    """One host: gateways, an upstream of its own, a caller, and somebody who watches."""

    def __init__(self, number: int, namespace: Namespace, store: Namespace) -> None:
        self.number = number
        self._namespace, self._store = namespace, store
        store.do(f"ip link add v{number} type veth peer name eth0 netns {namespace.pid}")
        store.do(f"ip addr add 10.77.{number}.1/24 dev v{number}")
        namespace.do(f"ip addr add 10.77.{number}.2/24 dev eth0")
        self.connect()
        self._ports: dict[str, int] = {}
        self._gateways: list[Running] = []
        self._upstream = namespace.run([sys.executable, "-m", "tests.faults.host_programs", "upstream"]).wait()
        self._caller, self._watcher = (
            namespace.run([sys.executable, "-m", "tests.faults.host_programs", "caller"]).wait() for _ in range(2)
        )

    def connect(self) -> None:
        """Plug in the cable."""
        self._store.do(f"ip link set v{self.number} up")
        self._namespace.do("ip link set eth0 up")
        self._namespace.do(f"ip route replace default via 10.77.{self.number}.1")

    def cut(self) -> None:
        """Pull the cable: whatever is sent is lost, and no connection is told so."""
        self._store.do(f"ip link set v{self.number} down")

    def serve(self, name: str, configuration: dict[str, Any], folder: Path) -> None:
        """Begin to start a gateway; `wait` waits for all of them."""
        self._ports[name] = 8080 + len(self._ports)
        file = folder / f"{self.number}-{name}.yaml"
        file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(file), "--port", str(self._ports[name])]
        self._gateways.append(self._namespace.run(command, "is ready on ", folder))

    def wait(self) -> None:
        """Wait until the gateways are ready."""
        for gateway in self._gateways:
            gateway.wait()

    def begin(self, secret: str, query: str, name: str = "fail_closed", documents: int = 2) -> None:
        """Send a request; `end` gives its answer."""
        body = {"model": "up/m", "query": query, "documents": [f"document {n}" for n in range(documents)]}
        _send(self._caller, self._ports[name], "/v1/rerank", secret, body)

    def end(self) -> Answer:
        return _answer(self._caller)

    def ask(self, secret: str, query: str, name: str = "fail_closed", documents: int = 2) -> Answer:
        self.begin(secret, query, name, documents)
        return self.end()

    def usage(self, secret: str, name: str = "fail_closed") -> Answer:
        _send(self._watcher, self._ports[name], "/v1/usage", secret, None)
        return _answer(self._watcher)

    def upstream_calls(self) -> int:
        """How often the upstream of this host was asked."""
        _send(self._watcher, UPSTREAM_PORT, "/", "none", None)
        return int(_answer(self._watcher).body["asked"])


def _send(caller: Running, port: int, path: str, secret: str, body: Any) -> None:
    headers = {"authorization": f"Bearer {secret}"}
    caller.write(json.dumps({"port": port, "path": path, "headers": headers, "body": body}))


def _answer(caller: Running) -> Answer:
    return Answer(**json.loads(caller.read()))


@contextmanager
def two_hosts(folder: Path) -> Iterator[tuple[Host, Host]]:
    """Two hosts, and a store that both reach."""
    with ExitStack() as stack:
        store = Namespace(["unshare", *_USER], stack)
        store.do(f"ip addr add {STORE_ADDRESS}/32 dev lo")
        program = str(servers.binary())
        options = f"--port 6379 --bind {STORE_ADDRESS} --requirepass {PASSWORD} --appendonly no --dir {folder}"
        store.run([program, *options.split(), "--save", ""], "Ready to accept connections").wait()
        one, two = (Host(number, Namespace([*store.inside, "unshare"], stack), store) for number in (1, 2))
        yield one, two
