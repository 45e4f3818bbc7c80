"""Several worker processes under signals: nothing is lost, and all of them change their configuration."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.gateway.server.callers import NewConnectionCallers, wait_until

ASK = {"model": "passthrough/order", "query": "q", "documents": ["a", "b"]}
SETTINGS: dict[str, Any] = {"server": {"drain": 0.2, "shutdown_timeout": 5.0}, "providers": {"passthrough": {}}}


def workers_of(gateway: Any) -> list[int]:
    children = Path(f"/proc/{gateway.popen.pid}/task/{gateway.popen.pid}/children").read_text(encoding="ascii")
    return [pid for pid in map(int, children.split()) if b"spawn_main" in command_line(pid)]


def command_line(pid: int) -> bytes:
    """Of a process; empty once that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_connection_that_was_let_in_is_served_though_the_gateway_stops(
    start_ready: Callable[..., Any], workers: int
) -> None:
    gateway = start_ready(SETTINGS, "--workers", str(workers))
    callers = NewConnectionCallers(gateway.url, ASK, callers=8)
    callers.wait_for(50)
    gateway.popen.send_signal(signal.SIGTERM)
    assert gateway.wait() == 0
    seen = callers.stop()
    lost = {what: count for what, count in seen.items() if what not in ("200", "refused", "too late")}
    # uvicorn's own way resets one per caller. A gateway that a busy machine holds up for longer than
    # ACCEPT_DRAIN_SECONDS may still close a connection whose request has come meanwhile.
    assert sum(lost.values()) <= 2, lost


def test_all_workers_reload_and_lose_nothing(start_ready: Callable[..., Any]) -> None:
    gateway = start_ready(SETTINGS, "--workers", "2")
    callers = NewConnectionCallers(gateway.url, ASK)
    callers.wait_for(50)
    gateway.config_file.write_text(yaml.safe_dump({**SETTINGS, "models": {"new": {"target": "passthrough/order"}}}))
    gateway.popen.send_signal(signal.SIGHUP)
    for _ in range(2):
        gateway.wait_for("was reloaded")
    callers.wait_for(50)
    assert set(callers.stop()) == {"200"}
    assert _statuses(gateway, "new") == {200}


def test_a_worker_that_replaces_a_dead_one_has_the_newest_configuration(start_ready: Callable[..., Any]) -> None:
    gateway = start_ready(SETTINGS, "--workers", "2")
    gateway.config_file.write_text(yaml.safe_dump({**SETTINGS, "models": {"new": {"target": "passthrough/order"}}}))
    for _ in range(2):
        gateway.wait_for("was reloaded")
    for pid in workers_of(gateway):
        os.kill(pid, signal.SIGKILL)
    for _ in range(2):
        gateway.wait_for("was reloaded")
    assert _statuses(gateway, "new") == {200}


def test_sighup_before_the_workers_listen_to_it_ends_none(start_gateway: Callable[..., Any]) -> None:
    gateway = start_gateway(SETTINGS, "--workers", "2")
    wait_until(lambda: workers_of(gateway))
    pids = workers_of(gateway)
    os.kill(pids[0], signal.SIGHUP)
    gateway.wait_until_ready()
    assert pids[0] in workers_of(gateway)
    assert "died" not in gateway.output


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """For temporary files: pytest's own folders take most of what a socket's path may have."""
    with tempfile.TemporaryDirectory(prefix="left-") as folder:
        yield Path(folder)


def test_the_next_start_removes_what_a_killed_gateway_left(start_ready: Callable[..., Any], short_folder: Path) -> None:
    settings = {**SETTINGS, "providers": {"passthrough": {}, "local": {}}}
    environ = {"TMPDIR": str(short_folder)}
    killed = start_ready(settings, "--workers", "2", environ=environ)
    started = workers_of(killed)
    left = set(short_folder.glob("rerank-gateway-*"))
    killed.popen.kill()
    wait_until(lambda: not any(map(command_line, started)))
    assert len(left) == 2, "of metrics, and of the engine process"
    assert set(short_folder.glob("rerank-gateway-*")) == left
    second = start_ready(SETTINGS, "--workers", "2", environ=environ)
    assert len(set(short_folder.glob("rerank-gateway-*")) - left) == 1
    assert not [folder for folder in left if folder.exists()]
    assert second.stop() == 0
    assert list(short_folder.glob("rerank-gateway-*")) == []


def _statuses(gateway: Any, model: str) -> set[int]:
    """What new connections get, enough of them for both workers to be met."""
    body = {**ASK, "model": model}
    return {httpx.post(f"{gateway.url}/v1/rerank", json=body, trust_env=False).status_code for _ in range(20)}
