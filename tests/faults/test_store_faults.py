"""Every fault of a store, with both ways of going on without it: what callers see meanwhile and afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from msgspec import Struct

from tests.faults.server import FaultServer
from tests.faults.store import StorePath
from tests.gateway.access import servers
from tests.gateway.access.conftest import key
from tests.ports import free_port

pytestmark = pytest.mark.skipif(servers.binary() is None, reason="no valkey-server or redis-server on this machine")

OPERATIONS = Path(__file__).parent.parent.parent / "docs" / "operations.md"
TIMEOUT = 0.5
LIMIT = 1_000_000
LEEWAY = 2.0
"""Seconds that an answer may take beyond the store's time limit: this test may share a busy machine."""

EXPECTED = {
    "slow, within `timeout`": ("200", "200", "counted"),
    "slow, beyond `timeout`": ("503 store_down, retry-after 1", "200, uncounted", "counted"),
    "stalled": ("503 store_down, retry-after 1", "200, uncounted", "counted"),
    "refuses connections": ("503 store_down, retry-after 1", "200, uncounted", "counted"),
    "cuts connections once": ("200", "200", "counted"),
    "read-only, a new primary elsewhere": ("200", "200", "counted"),
    "read-only, no primary": ("503 store_down, retry-after 1", "200, uncounted", "counted"),
    "restarted empty": ("200", "200", "counted anew"),
    "flushed": ("200", "200", "counted anew"),
}
"""By fault: meanwhile with `fail_closed`, with `fail_open`, and once it is over."""


class World(Struct):
    """Two gateways whose store is reached by one path, and that store's servers."""

    clients: dict[str, httpx.Client]
    headers: dict[str, str]
    path: StorePath
    main: redis.Redis
    other: redis.Redis
    ports: tuple[int, int]


@pytest.fixture(scope="module")
def world(
    faults: FaultServer, start_gateway: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    ports = (free_port(), free_port())
    with (
        servers.server(tmp_path_factory.mktemp("one"), ports[0]) as (one, _),
        servers.server(tmp_path_factory.mktemp("two"), ports[1]) as (two, _),
        redis.Redis.from_url(one) as main,
        redis.Redis.from_url(two) as other,
    ):
        path = StorePath(ports[0])
        secret, entry = key("team", limits={"requests": f"{LIMIT}/day"})
        clients = {}
        for when_down in ("fail_closed", "fail_open"):
            gateway = start_gateway(_configuration(faults.url("good"), path.port, when_down, entry))
            gateway.wait_until_ready()
            clients[when_down] = httpx.Client(base_url=gateway.url, timeout=30, trust_env=False)
        yield World(clients, {"authorization": f"Bearer {secret}"}, path, main, other, ports)
        for client in clients.values():
            client.close()
        path.close()


def _configuration(upstream: str, port: int, when_down: str, entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "providers": {"good": {"adapter": "jina", "base_url": upstream, "api_key": "k", "proxy": "none"}},
        "auth": {"keys": [entry]},
        "store": {"url": f"redis://127.0.0.1:{port}/0", "timeout": TIMEOUT, "when_down": when_down},
    }


def _slow(seconds: float) -> Callable[[World], None]:
    return lambda world: setattr(world.path, "delay", seconds)


def _cut(world: World) -> None:
    world.path.refuse()
    world.path.listen()


def _demote(world: World) -> None:
    world.main.replicaof("127.0.0.1", str(world.ports[1]))


def _fail_over(world: World) -> None:
    world.path.target = world.ports[1]
    _demote(world)


def _flush(world: World) -> None:
    world.main.flushall()
    world.main.script_flush()


def _restart(world: World) -> None:
    world.path.refuse()
    _flush(world)
    world.path.listen()


BEGIN: dict[str, Callable[[World], None]] = {
    "slow, within `timeout`": _slow(TIMEOUT / 10),
    "slow, beyond `timeout`": _slow(TIMEOUT * 2),
    "stalled": lambda world: world.path.stall(True),
    "refuses connections": lambda world: world.path.refuse(),
    "cuts connections once": _cut,
    "read-only, a new primary elsewhere": _fail_over,
    "read-only, no primary": _demote,
    "restarted empty": _restart,
    "flushed": _flush,
}


def _end(world: World, fault: str) -> None:
    world.path.delay = 0.0
    world.path.stall(False)
    if fault == "refuses connections":
        world.path.listen()
    if world.path.target != world.ports[0]:
        world.path.refuse()
        world.path.target = world.ports[0]
        world.path.listen()
    world.main.replicaof("NO", "ONE")


def _ask(client: httpx.Client, headers: dict[str, str]) -> tuple[str, float, int | None]:
    """What a caller is told, after how many seconds, and how many requests are left."""
    start = time.monotonic()
    body = {"model": "good/m", "query": "q", "documents": ["a", "b"]}
    answer = client.post("/v1/rerank", json=body, headers=headers)
    seconds = time.monotonic() - start
    left = answer.headers.get("x-ratelimit-remaining-requests")
    told = str(answer.status_code)
    if answer.status_code != 200:
        told += f" {answer.json()['error_type']}, retry-after {answer.headers['retry-after']}"
    elif left is None:
        told += ", uncounted"
    return told, seconds, None if left is None else int(left)


def _counted_again(client: httpx.Client, headers: dict[str, str]) -> int:
    """What is left of the limit, as soon as requests are counted again."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        told, _, left = _ask(client, headers)
        if told == "200" and left is not None:
            return left
        time.sleep(0.02)  # a pause of another process, which has no clock of ours
    raise AssertionError("requests are not counted again")


@pytest.mark.parametrize("when_down", ["fail_closed", "fail_open"])
@pytest.mark.parametrize("fault", EXPECTED)
def test_the_outcome(fault: str, when_down: str, world: World) -> None:
    client, headers = world.clients[when_down], world.headers
    closed, open_, afterwards = EXPECTED[fault]
    before = _counted_again(client, headers)
    BEGIN[fault](world)
    try:
        seen = [_ask(client, headers) for _ in range(8)]
    finally:
        _end(world, fault)
    after = _counted_again(client, headers)
    assert {told for told, _, _ in seen} == {closed if when_down == "fail_closed" else open_}
    assert max(seconds for _, seconds, _ in seen) < 2 * TIMEOUT + LEEWAY
    if afterwards == "counted":
        # What the store did not confirm is given back a moment later, so up to eight requests of the fault before.
        assert before - 20 - 1000 < after < before + 8
        assert any(_counted_again(client, headers) - _counted_again(client, headers) == 1 for _ in range(20))
    else:
        assert after == LIMIT - 9


def table() -> Iterator[str]:
    """The lines of the table in docs/operations.md."""
    yield "| the store | `fail_closed` | `fail_open` | once it is over |"
    yield "|---|---|---|---|"
    for fault, told in EXPECTED.items():
        yield f"| {fault} | {' | '.join(told)} |"


def test_the_documentation_has_this_table() -> None:
    assert "\n".join(table()) in OPERATIONS.read_text(encoding="utf-8")
