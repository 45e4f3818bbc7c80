"""Ctrl-C and SIGTERM at any moment: 130 and 0, soon, without a traceback, an abort, or anything left behind.

`python -m benchmarks.stop_signals` tries many more moments.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest

from tests.gateway.server.callers import address_of, wait_until
from tests.gateway.server.test_stop_signals import catches_sigterm
from tests.gateway.server.test_workers import workers_of

ROOT = Path(__file__).parents[3]
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 0}
SLOW_SECONDS = 30.0
"""A stop takes less than a second on a machine that is not busy; tests may share two cores with much else."""

BAD_WORDS = ("Traceback", "terminate called", "Fatal", "Exception ignored", "leaked")


def is_starting(gateway: Any) -> bool:
    return catches_sigterm(gateway.popen.pid)


def loads_torch(gateway: Any) -> bool:
    """Whether a process of the gateway has begun to load torch's libraries, which takes seconds."""
    return any("libtorch" in _maps(pid) for pid in [gateway.popen.pid, *workers_of(gateway)])


def has_workers(gateway: Any) -> bool:
    return bool(workers_of(gateway))


def _maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
    except OSError:
        return ""


MOMENTS: dict[str, tuple[str, Callable[[Any], bool], signal.Signals]] = {
    "Ctrl-C before the imports are done": ("1", is_starting, signal.SIGINT),
    "SIGTERM before the imports are done": ("1", is_starting, signal.SIGTERM),
    "Ctrl-C while a model loads": ("1", loads_torch, signal.SIGINT),
    "SIGTERM while a model loads": ("1", loads_torch, signal.SIGTERM),
    "Ctrl-C while the workers import": ("2", has_workers, signal.SIGINT),
    "SIGTERM while the engine process loads a model": ("2", loads_torch, signal.SIGTERM),
}


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """For temporary files. A socket's path has at most 107 bytes, of which pytest's own folders take most."""
    with tempfile.TemporaryDirectory(prefix="stop-") as folder:
        yield Path(folder)


@pytest.mark.parametrize(("workers", "moment", "number"), MOMENTS.values(), ids=MOMENTS.keys())
def test_ends_soon_and_clean(
    start_gateway: Callable[..., Any],
    short_folder: Path,
    workers: str,
    moment: Callable[[Any], bool],
    number: signal.Signals,
) -> None:
    gateway = start_gateway(None, "--workers", workers, environ={"TMPDIR": str(short_folder)})
    wait_until(lambda: moment(gateway))
    start = monotonic()
    assert gateway.stop(number) == STATUS[number]
    assert monotonic() - start < SLOW_SECONDS
    assert not [word for word in BAD_WORDS if word in gateway.output], gateway.output
    assert not list(short_folder.glob("rerank-gateway*")), "temporary folders are deleted"


FURTHER: dict[str, tuple[list[signal.Signals], int]] = {
    "SIGTERM twice": ([signal.SIGTERM, signal.SIGTERM], 0),
    "SIGTERM, then Ctrl-C": ([signal.SIGTERM, signal.SIGINT], 0),
    "Ctrl-C, then SIGTERM": ([signal.SIGINT, signal.SIGTERM], 130),
    "Ctrl-C twice": ([signal.SIGINT, signal.SIGINT], 130),
}


@pytest.fixture
def hanging() -> Iterator[str]:
    """An upstream that accepts a connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/rerank"


@pytest.mark.parametrize(("numbers", "status"), FURTHER.values(), ids=FURTHER.keys())
def test_a_second_signal_of_either_kind_ends_what_is_under_way(
    start_ready: Callable[..., Any], hanging: str, numbers: list[signal.Signals], status: int
) -> None:
    server = {"drain": 60.0, "shutdown_timeout": 60.0}
    provider = {"adapter": "jina", "base_url": hanging, "proxy": "none"}
    gateway = start_ready({"server": server, "providers": {"up": provider}})
    with subprocess.Popen(
        [sys.executable, "-c", ASK, *map(str, address_of(gateway.url))], stdout=subprocess.PIPE
    ) as caller:
        assert caller.stdout is not None
        caller.stdout.readline()
        wait_until(lambda: _under_way(gateway.url))
        gateway.popen.send_signal(numbers[0])
        wait_until(lambda: _is_stopping(gateway.url))
        gateway.popen.send_signal(numbers[1])
        assert gateway.wait() == status


ASK = """
import socket, sys
body = b'{"model": "up/m", "query": "q", "documents": ["a"]}'
caller = socket.create_connection((sys.argv[1], int(sys.argv[2])))
caller.sendall(b"POST /v1/rerank HTTP/1.1\\r\\nhost: x\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body) + body)
print("sent", flush=True)
caller.recv(1)
"""


def _under_way(url: str) -> bool:
    lines = httpx.get(f"{url}/metrics", trust_env=False).text.splitlines()
    return any(float(line.split()[-1]) > 0 for line in lines if line.startswith("rerank_gateway_in_flight"))


def _is_stopping(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 503
    except httpx.TransportError:
        return True


LEAVING: dict[str, tuple[str, int, str]] = {
    "what was printed gets out, and what is to run at exit runs": (
        "import atexit; atexit.register(print, 'closed'); print('open', end=' '); leave(3)", 3, "open closed\n",
    ),
    "no thread is waited for": (
        "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start(); leave(0)", 0, "",
    ),
    "no thread is killed one by one": (
        """
        import threading, time
        class Held:
            def __del__(self): print("torn down")
        held = Held()
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        leave(130)
        """, 130, "",
    ),
    "at once not even what is to run at exit runs": (
        "import atexit, time; atexit.register(time.sleep, 60); leave_at_once(130)", 130, "",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("code", "status", "output"), LEAVING.values(), ids=LEAVING.keys())
def test_leaving(code: str, status: int, output: str) -> None:
    program = f"from gateway.exits import leave, leave_at_once\n{textwrap.dedent(code)}"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (status, output, "")
