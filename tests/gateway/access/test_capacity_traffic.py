"""What `capacity` says of a request's traffic is what travels: calls of a real store, and bytes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from gateway.capacity import plan, store_calls
from gateway.capacity.demand import Demand, LimitUnit
from tests.gateway.access import servers
from tests.gateway.access.conftest import Upstream, body, key

pytestmark = pytest.mark.skipif(servers.binary() is None, reason="no valkey-server or redis-server on this machine")
REQUESTS = 4
LONG = ["word " * 200] * 60
"""More than one search is reserved for these documents, and one is billed: so the budget is corrected."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server for this module."""
    with servers.server(tmp_path_factory.mktemp("valkey")) as (address, _):
        yield address


async def commands(url: str, ask: Any, finish: str) -> Counter[str]:
    """The server's commands, those in scripts as well, while `ask` runs; usage, which is not by request, left out.

    Args:
        finish: how many of its commands to wait for: what nobody awaits may come after the answers.
    """
    seen: Counter[str] = Counter()
    with redis.Redis.from_url(url, decode_responses=True) as connection, connection.monitor() as monitor:
        await ask()
        await asyncio.to_thread(connection.echo, finish)
        while "the end" not in (line := monitor.next_command()["command"]):
            if "usage" not in line:
                seen[line.split()[0].lower()] += 1
    return seen


def rated(**limits: Any) -> dict[str, Any]:
    return {"limits": limits}


CASES: dict[str, tuple[list[LimitUnit], dict[str, Any]]] = {
    "requests": (["requests"], rated(requests="1000/hour")),
    "documents": (["documents"], rated(documents="100000/hour")),
    "tokens, which the provider counts": (["tokens"], rated(tokens="10000000/hour")),
    "a budget": (["budget"], {"budget": {"usd": 1000}}),
    "concurrency": (["concurrency"], rated(concurrency=50)),
    "two rates": (["requests", "documents"], rated(requests="1000/hour", documents="100000/hour")),
    "all": (
        ["requests", "documents", "tokens", "budget", "concurrency"],
        {
            "limits": {
                "requests": "1000/hour",
                "documents": "100000/hour",
                "tokens": "10000000/hour",
                "concurrency": 50,
            },
            "budget": {"usd": 1000},
        },
    ),
    "none": ([], {}),
}


@pytest.mark.parametrize(("units", "settings"), CASES.values(), ids=CASES)
async def test_limits(
    units: list[LimitUnit], settings: dict[str, Any], serve: Any, upstream: Upstream, url: str
) -> None:
    upstream.usage = {"billed_units": {"input_tokens": 100, "search_units": 1}}
    secret, entry = key(**settings)
    client = await serve(auth={"keys": [entry]}, store={"url": url, "timeout": 10})

    async def ask() -> None:
        for _ in range(REQUESTS):
            answer = await client.post(
                "/v1/rerank", json=body(documents=LONG), headers={"authorization": f"Bearer {secret}"}
            )
            assert answer.status_code == 200

    await ask()  # loads the scripts
    expected = store_calls.of_request(Demand(rate=1, documents=len(LONG), limits=tuple(units)))
    seen = await commands(url, ask, "the end")
    assert without_setup(seen) == {name: count * REQUESTS for name, count in expected.commands.items()}
    assert seen["evalsha"] == expected.calls * REQUESTS


SETUP = {"hello", "client", "select", "script", "echo", "monitor", "ping", "auth"}


def without_setup(seen: Counter[str]) -> dict[str, int]:
    """Without what opens a connection."""
    return {name: count for name, count in seen.items() if name not in SETUP}


CACHED: dict[str, list[int]] = {
    "nothing is known": [0, 1, 2, 3],
    "half of the requests are known": [0, 0, 1, 1],
    "almost all are known": [0, 0, 0, 0],
}


@pytest.mark.parametrize("topics", CACHED.values(), ids=CACHED)
async def test_the_shared_cache(topics: list[int], serve: Any, upstream: Upstream, url: str) -> None:
    with redis.Redis.from_url(url) as connection:
        connection.flushdb()
    client = await serve(cache={"shared": True, "secret": "x" * 32}, store={"url": url, "timeout": 10})

    async def ask() -> None:
        for topic in topics:
            documents = [f"document {number} on topic {topic}" for number in range(10)]
            answer = await client.post("/v1/rerank", json=body(documents=documents))
            assert answer.status_code == 200
            await stored(url, 10 * (len(upstream.calls)))

    cached = 1 - len(set(topics)) / len(topics)
    demand = Demand(rate=1, documents=10, cache="shared", cached=cached)
    seen = without_setup(await commands(url, ask, "the end"))
    seen.pop("dbsize", None)
    assert seen == {"mget": len(topics), "set": store_calls.kept_scores(demand) * len(topics)}


async def stored(url: str, keys: int) -> None:
    """Wait until so many scores are there: the gateway answers before."""
    with redis.Redis.from_url(url) as connection:
        async with asyncio.timeout(20):
            while await asyncio.to_thread(connection.dbsize) < keys:
                pass


def test_connections_are_bounded_by_what_each_client_opens() -> None:
    assert store_calls.max_connections(Demand(rate=1)) == 0
    assert store_calls.max_connections(Demand(rate=1, limits=("requests",))) == 64 + 1 + 2
    assert store_calls.max_connections(Demand(rate=1, cache="shared")) == 64 + 1 + 2 + 16


SIZES = {"few short documents": (5, 200), "as many as by default": (50, 1000), "many": (500, 300)}


@pytest.mark.parametrize(("documents", "size"), SIZES.values(), ids=SIZES)
async def test_bytes_of_a_request_and_its_answer(documents: int, size: int, serve: Any, upstream: Upstream) -> None:
    """Never too few, and a tenth too many at most besides the head; scores may be longer than these are."""
    demand = Demand(rate=1e6 / 8, documents=documents, document_bytes=size, query_bytes=4)
    client = await serve()
    answer = await client.post("/v1/rerank", json=body(documents=["x" * size] * documents))
    request_bytes, answer_bytes = len(answer.request.content), len(answer.content)
    bandwidth = plan.bandwidth(demand)
    assert request_bytes <= bandwidth.callers_in * 1e6 / demand.rate / 8 <= request_bytes * 1.1 + plan.HEAD_BYTES
    assert answer_bytes <= bandwidth.callers_out * 1e6 / demand.rate / 8 <= answer_bytes * 1.25 + plan.HEAD_BYTES
    _, _, sent = upstream.calls[0]
    assert len(sent) <= bandwidth.upstream_out * 1e6 / demand.rate / 8 <= len(sent) * 1.1 + plan.HEAD_BYTES
