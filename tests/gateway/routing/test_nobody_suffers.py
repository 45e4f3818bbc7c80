"""One bad request, one dead replica, our own full pool: what one of them does must take nothing from others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from gateway.config.loader import from_tree
from gateway.policy.strategy import Candidate
from gateway.routing.routes import Routes, build
from gateway.routing.targets import MAX_ADHOC_ROUTES, Targets
from gateway.transport.base import Timeouts
from providers.errors import TargetFailed
from tests.conftest import Open
from tests.faults.server import GOOD, FaultServer, of
from tests.gateway.loopback import Exchange, Loopback, hang, loopback, reply


def provider(url: str, **settings: Any) -> dict[str, Any]:
    return {"adapter": "jina", "base_url": url, "proxy": "none", **settings}


def url_of(server: Loopback) -> str:
    return f"http://127.0.0.1:{server.port}/v1/rerank"


async def post(client: httpx.AsyncClient, model: str, first: str = "a") -> httpx.Response:
    return await client.post("/v1/rerank", json={"model": model, "query": "q", "documents": [first, "b"]})


class Balanced:
    """Two replicas behind one address: a connection belongs to one of them for as long as it lasts.

    Attributes:
        late: connections that are still led to the dead replica before the load balancer has noticed.
        holds: requests wait until it is set.
        all_wait: set when as many requests wait as are expected.
    """

    def __init__(self, calls: int) -> None:
        self.late = 0
        self.holds = asyncio.Event()
        self.all_wait = asyncio.Event()
        self._missing = calls
        self.is_dead = False
        self._connections: dict[int, list[asyncio.StreamWriter]] = {0: [], 1: []}
        self._next = 0

    def kill_one(self, late: int) -> None:
        self.is_dead, self.late = True, late
        for writer in self._connections[0]:
            writer.transport.abort()
        self.holds.set()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/rerank"
            for writer in [*self._connections[0], *self._connections[1]]:
                writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        replica = self._next = 1 - self._next
        if self.is_dead:
            self.late -= 1
            replica = 0 if self.late >= 0 else 1
        self._connections[replica].append(writer)
        if self.is_dead and replica == 0:
            writer.transport.abort()
            return
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
                self._missing -= 1
                if not self._missing:
                    self.all_wait.set()
                await self.holds.wait()
                writer.write(of(GOOD))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return


@pytest.mark.parametrize("calls", [2, 8, 24, 60])
@pytest.mark.parametrize("late", [0, 1])
async def test_a_replica_that_dies_behind_a_load_balancer_costs_no_request(
    opened: Open, faulty: FaultServer, calls: int, late: int
) -> None:
    """With default settings: every call that was cut off is served by the other replica, none by the spare."""
    balanced = Balanced(calls)
    async with balanced.serve() as url:
        client = await opened(
            {
                "providers": {"cluster": provider(url), "spare": provider(faulty.url("good"))},
                "models": {"best": {"target": "cluster/m", "fallbacks": ["spare/m"]}},
            }
        )
        running = [asyncio.create_task(post(client, "best")) for _ in range(calls)]
        await balanced.all_wait.wait()
        balanced.kill_one(late if calls > 2 else 0)
        answers = [*await asyncio.gather(*running), *[await post(client, "best") for _ in range(5)]]
    assert [answer.status_code for answer in answers] == [200] * (calls + 5)
    assert {answer.json()["extra_fields"]["provider"] for answer in answers} == {"cluster"}


@pytest.fixture(scope="module")
def faulty() -> Any:
    server = FaultServer().start()
    yield server
    server.stop()


@pytest.mark.parametrize("client_name", ["default", "aiohttp", "httpx"])
async def test_our_own_full_pool_ejects_nobody(opened: Open, client_name: str) -> None:
    """One connection, one call that holds it, and as many others as would eject the target."""
    release = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await release.wait()
        await reply(body=json.dumps(GOOD).encode(), content_type="application/json")(exchange)

    async with loopback(slow) as server:
        only = provider(
            url_of(server), client=client_name, max_connections=1, pool_timeout=0.05, breaker={"failures": 1}
        )
        client = await opened({"providers": {"only": only}})
        first = asyncio.create_task(post(client, "only/m"))
        await server.arrived.wait()
        others = await asyncio.gather(*(post(client, "only/m") for _ in range(6)))
        release.set()
        assert {(answer.status_code, answer.json()["error_type"]) for answer in others} == {(429, "overloaded")}
        assert {answer.headers["retry-after"] for answer in others} == {"1"}
        assert (await first).status_code == 200
        assert (await post(client, "only/m")).status_code == 200
        assert 'state="open"} 1.0' not in (await client.get("/metrics")).text


async def test_a_health_check_does_not_wait_for_requests() -> None:
    async def answer(exchange: Exchange) -> None:
        await (reply() if exchange.line.startswith("GET") else hang)(exchange)

    async with loopback(answer) as server:
        check = {"url": f"http://127.0.0.1:{server.port}/health", "timeout": 30.0}
        routes = build(
            from_tree({"providers": {"one": provider(url_of(server), max_connections=1, health_check=check)}})
        )
        live = routes.providers["one"]
        assert live.client is not None
        held = asyncio.create_task(live.client.send("POST", server.url, {}, b"{}", Timeouts()))
        await server.arrived.wait()
        assert await live.is_well(live.addresses[0].health_url) is True
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)
        await routes.aclose()


@pytest.mark.parametrize("mode", ["402", "403", "429 seconds", "401"])
async def test_what_one_caller_is_refused_takes_no_sole_key_from_others(
    opened: Open, faulty: FaultServer, mode: str
) -> None:
    """The same account: after refusals of any number the next request is asked, and served where that is possible."""
    path = f"flip {mode}"
    client = await opened({"providers": {"only": provider(faulty.url(path), api_key="k", retry={"retries": 0})}})
    faulty.plays[path] = mode
    for text in ("bad 1", "bad 2", "bad 3"):
        assert (await post(client, "only/dear", text)).status_code in (429, 502)
    assert faulty.asked[path] == 3
    faulty.plays[path] = "good"
    for model in ("only/other", "only/dear"):
        assert (await post(client, model)).status_code == 200


@pytest.fixture
async def routes() -> AsyncIterator[Routes]:
    built = build(from_tree({"providers": {"one": provider("http://127.0.0.1:9")}}))
    yield built
    await built.aclose()


IN_USE = {
    "it has served": lambda state: state.addresses[0].breaker.record_success(0.0, probe=False),
    "it is ejected": lambda state: [state.addresses[0].breaker.record_failure(1.0, probe=False) for _ in range(5)],
    "a call is in flight": lambda state: setattr(state.addresses[0].bulkhead, "active", 1),
    "a call waits for a slot": lambda state: state.addresses[0].bulkhead._queue.append(None),
    "a call is about to be retried": lambda state: setattr(state.retry_budget, "retrying", 1),
}


@pytest.mark.parametrize("use", IN_USE.values(), ids=IN_USE)
async def test_invented_names_push_out_nobody_in_use(routes: Routes, use: Any) -> None:
    routes.resolve("one/used")
    state = routes.targets._states["one/used"]
    use(state)
    for number in range(2 * MAX_ADHOC_ROUTES):
        routes.resolve(f"one/invented {number}")
        routes.resolve(f"nobody/{number}")
    assert routes.targets._states["one/used"] is state
    assert len(routes.targets._adhoc_routes) == MAX_ADHOC_ROUTES
    reloaded = build(routes.config, routes)
    for number in range(MAX_ADHOC_ROUTES):
        reloaded.resolve(f"one/more {number}")
    assert reloaded.targets._states["one/used"] is state


async def test_where_all_names_serve_the_longest_unused_is_dropped(routes: Routes) -> None:
    """Some servers answer to any name."""
    routes.resolve("one/used")
    state = routes.targets._states["one/used"]
    state.addresses[0].breaker.record_success(0.0, probe=False)
    for number in range(MAX_ADHOC_ROUTES + 50):
        path = f"one/invented {number}"
        routes.resolve(path)
        routes.targets._states[path].addresses[0].breaker.record_success(0.0, probe=False)
        if number % 1000 == 0:
            routes.resolve("one/used")
    assert routes.targets._states["one/used"] is state
    assert "one/invented 0" not in routes.targets._states
    assert len(routes.targets._states) == MAX_ADHOC_ROUTES


@pytest.mark.parametrize("served", [False, True], ids=["none was served", "all were served"])
async def test_a_reload_builds_no_route_of_names_that_only_callers_mention(
    routes: Routes, monkeypatch: pytest.MonkeyPatch, served: bool
) -> None:
    """It is done between two requests: thousands of routes would hold up all of them."""
    for number in range(MAX_ADHOC_ROUTES):
        routes.resolve(f"one/invented {number}")
        if served:
            routes.targets._states[f"one/invented {number}"].addresses[0].breaker.record_success(0.0, probe=False)
    built: list[str] = []
    candidate = Targets.candidate

    def watched(self: Targets, path: str, **more: Any) -> Candidate:
        built.append(path)
        return candidate(self, path, **more)

    monkeypatch.setattr(Targets, "candidate", watched)
    reloaded = build(routes.config, routes)
    assert not [path for path in built if "invented" in path]
    assert len(reloaded.targets._states.keys() & routes.targets._adhoc_routes.keys()) == MAX_ADHOC_ROUTES * served
    reloaded.resolve("one/invented 7")
    reloaded.resolve("one/invented 7")
    assert [path for path in built if "invented" in path] == ["one/invented 7"]
    state = routes.targets._states["one/invented 7"]
    assert (reloaded.targets._states["one/invented 7"] is state) is served
    reloaded.resolve("one/another")
    assert len(reloaded.targets._adhoc_routes) == (MAX_ADHOC_ROUTES if served else 2)


async def test_a_refusal_of_the_name_is_no_service(routes: Routes) -> None:
    routes.resolve("one/unknown")
    state = routes.targets._states["one/unknown"]
    state.addresses[0].breaker.record_refusal(0.0, probe=False)
    assert not state.is_in_use
    state.addresses[0].breaker.record_failure(
        0.0, probe=False, at_least=TargetFailed("x", retry_after=9).retry_after or 0.0
    )
    assert not state.is_in_use
