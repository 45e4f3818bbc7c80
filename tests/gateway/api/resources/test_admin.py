"""What operators see and do: by an admin key only, without any text, and within bounds."""

from __future__ import annotations

import asyncio
import tracemalloc
from concurrent.futures import ThreadPoolExecutor, wait
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.access.keys import hash_of
from gateway.api.resources import admin
from gateway.policy.breaker import BreakerSettings, BreakerState
from gateway.runtime.holds import HOLD_SECONDS, HeldTargets
from gateway.telemetry import metrics
from gateway.telemetry.exchange import Exchange
from gateway.telemetry.history import MAX_INCIDENTS, MAX_SAMPLES, History, uptimes
from gateway.telemetry.metric_store import MetricStore, shared_folder
from providers.types import Call

BODY = {"model": "search", "query": "red apple", "documents": ["green pear", "red apple"]}
READS = ("/v1/admin/state", "/v1/admin/events")
ACTIONS = ("/v1/admin/eject", "/v1/admin/readmit", "/v1/admin/reload")


def tree(upstream: Any, **more: Any) -> dict[str, Any]:
    return {
        "auth": {
            "keys": [
                {"name": "ops", "hash": hash_of("ops"), "admin": True},
                {"name": "team", "hash": hash_of("team"), "limits": {"requests": "9/hour"}, "budget": {"usd": 5}},
            ]
        },
        "providers": {
            "up": {"adapter": "cohere", "base_url": upstream.url, "api_key": "k", "retry": {"retries": 0}},
            "spare": {"adapter": "cohere", "base_url": upstream.url, "api_key": "k"},
        },
        "models": {"search": {"target": "up/m", "fallbacks": ["spare/n"]}},
        "prices": {"*": {"per_search": 0.001}},
        **more,
    }


def key(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}"}


@pytest.mark.parametrize("path", [*READS, *ACTIONS])
@pytest.mark.parametrize(("name", "status"), [("", 401), ("nobody", 401), ("team", 403)])
async def test_only_an_admin_key_opens_it(opened, upstream, path: str, name: str, status: int) -> None:
    client = await opened(tree(upstream))
    method = "GET" if path in READS else "POST"
    answer = await client.request(method, path, headers=key(name) if name else {}, json={"target": "up/m"})
    assert answer.status_code == status


@pytest.mark.parametrize("path", [*READS, *ACTIONS])
@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}])
async def test_without_keys_no_page_of_another_site_opens_it(opened, upstream, path: str, headers: Any) -> None:
    client = await opened(tree(upstream, auth="none"))
    method = "GET" if path in READS else "POST"
    answer = await client.request(method, path, headers=headers, json={"target": "up/m"})
    assert (answer.status_code, answer.json()["error_type"]) == (403, "foreign_origin")


@pytest.mark.parametrize("path", ["/admin", *READS, *ACTIONS])
async def test_it_is_at_the_operators_address_only(opened, upstream, path: str) -> None:
    client = await opened(tree(upstream, server={"admin": {"port": 9099}}))
    method = "GET" if path in ("/admin", *READS) else "POST"
    assert (await client.request(method, path, headers=key("ops"), json={"target": "up/m"})).status_code == 404


@pytest.mark.parametrize("path", ["/admin", *READS, *ACTIONS])
async def test_there_is_none_where_pages_are_forbidden(opened, upstream, path: str) -> None:
    client = await opened(tree(upstream, server={"ui": False}))
    method = "GET" if path in ("/admin", *READS) else "POST"
    assert (await client.request(method, path, headers=key("ops"), json={"target": "up/m"})).status_code == 404


async def test_the_state_tells_targets_routes_callers_and_incidents(opened, upstream) -> None:
    client = await opened(tree(upstream))
    upstream.behaviour = lambda asked: (500, {}, {}) if asked.body["model"] == "m" else (200, RANKED, {})
    await client.post("/v1/rerank", json=BODY, headers=key("team"))
    await client.post("/v1/rerank", json={**BODY, "query": ""}, headers=key("team"))
    state = (await client.get("/v1/admin/state", headers=key("ops"))).json()
    assert state["loads"]["up/m"] == {"in_flight": 0, "waiting": 0, "held": False, "uptime": None}
    (route,) = state["routes"]
    assert (route["targets"], route["fallbacks"], route["shares"]) == (["up/m"], ["spare/n"], {"spare": 1.0})
    caller = next(one for one in state["callers"] if one["name"] == "team")
    assert (caller["requests"], caller.get("failed_requests", 0)) == (1, 0)
    assert {limit["unit"]: limit["left"] for limit in caller["limits"]} == {"requests": 8, "usd": 4_999_000_000}
    refused, fell_back = state["incidents"]
    assert (refused["status"], refused["error_type"], refused["caller"]) == (400, "invalid_request", "team")
    assert (fell_back["status"], fell_back["served"]) == (200, "spare/n")
    assert fell_back["failed"] == ["up/m upstream_error"]


RANKED = {"results": [{"index": 0, "relevance_score": 0.5}], "meta": {"billed_units": {"search_units": 1}}}


async def test_a_target_is_ejected_and_readmitted(opened, upstream) -> None:
    client = await opened(tree(upstream))

    async def served_by() -> str:
        answer = await client.post("/v1/rerank", json=BODY, headers=key("team"))
        return str(answer.headers["x-gateway-provider"])

    assert await served_by() == "up"
    answer = await client.post("/v1/admin/eject", json={"target": "up/m"}, headers=key("ops"))
    assert (answer.status_code, answer.json()["done"].startswith("up/m is out of use")) == (200, True)
    assert await served_by() == "spare"
    state = (await client.get("/v1/admin/state", headers=key("ops"))).json()
    assert state["loads"]["up/m"]["held"]
    await client.post("/v1/admin/readmit", json={"target": "up/m"}, headers=key("ops"))
    assert await served_by() == "up"


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        pytest.param({"target": "up/n"}, 404, 'no target "up/n" is in use', id="one that nobody calls"),
        pytest.param({"target": "x" * 9999}, 404, "no target", id="a long name"),
        pytest.param({}, 400, "target", id="no target"),
        pytest.param({"target": 7}, 400, "target", id="a number"),
    ],
)
async def test_actions_that_cannot_be_done(opened, upstream, body: Any, status: int, message: str) -> None:
    client = await opened(tree(upstream))
    answer = await client.post("/v1/admin/eject", json=body, headers=key("ops"))
    assert answer.status_code == status
    assert message in answer.json()["message"]
    assert len(answer.text) < 2000


async def test_a_stream_ends_when_its_reader_goes_and_there_are_not_too_many(monkeypatch, upstream) -> None:
    from gateway.config.loader import from_tree
    from gateway.runtime.service import Service

    service = Service(from_tree(tree(upstream)))
    await service.open()
    callers, watchers = admin.Callers(service), asyncio.Semaphore(admin.MAX_WATCHERS)
    monkeypatch.setattr(admin, "EVENT_SECONDS", 0.0)
    stream = admin._stream(service, callers, watchers)
    assert [(await anext(stream)).startswith('{"time":') for _ in range(3)] == [True] * 3
    assert watchers._value == admin.MAX_WATCHERS - 1
    await stream.aclose()
    assert watchers._value == admin.MAX_WATCHERS
    service.draining = True
    assert [event async for event in admin._stream(service, callers, watchers)] == []
    await service.aclose()


async def test_what_keys_use_is_not_looked_up_for_every_event(monkeypatch, upstream) -> None:
    from gateway.config.loader import from_tree
    from gateway.runtime.service import Service

    service = Service(from_tree(tree(upstream)))
    await service.open()
    looks = 0
    read = service.accounts.ledger.read

    async def counted(*arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        return await read(*arguments)

    monkeypatch.setattr(service.accounts.ledger, "read", counted)
    callers = admin.Callers(service)
    for _ in range(5):
        assert [caller.name for caller in await callers.read()] == ["ops", "team"]
    assert looks == 1
    await service.aclose()


def test_an_hour_under_load_does_not_grow() -> None:
    """Three hours in fast motion: after the first, memory stays."""
    store, history = MetricStore(metrics.METRICS), History()
    exchange = Exchange("unified", Call("1"), 0.0, status=500, error_type="x")
    sizes = []
    tracemalloc.start()
    for step in range(3 * MAX_SAMPLES):
        for target in range(50):
            store.add(metrics.ATTEMPTS, ("up", f"m{target}", "ok", ""), 9.0)
            store.add(metrics.ATTEMPTS, ("up", f"m{target}", "error", "x"), 1.0)
        history.add_sample(float(step), store.read())
        for _ in range(20):
            history.add_exchange(exchange, "m", float(step))
        if step in (MAX_SAMPLES + 1, 3 * MAX_SAMPLES - 1):
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert (len(history.samples), len(history.incidents)) == (MAX_SAMPLES, MAX_INCIDENTS)
    assert sizes[1] < sizes[0] * 1.05
    assert uptimes(history.samples)["up/m7"] == pytest.approx(0.9)


class Known:
    """Routes with one target."""

    def __init__(self) -> None:
        self.breaker = BreakerState(BreakerSettings())

    def breakers(self) -> dict[str, BreakerState]:
        return {"up/m": [self.breaker]}


def test_what_one_worker_holds_the_others_hold_too_until_it_is_readmitted() -> None:
    with shared_folder():
        one, other = Known(), Known()
        mine, theirs = HeldTargets(lambda: one), HeldTargets(lambda: other)  # type: ignore[arg-type,return-value]
        mine.eject("up/m")
        theirs.apply()
        assert (one.breaker.ejected, other.breaker.ejected, theirs.paths) == (True, True, ["up/m"])
        other.breaker.record_health_check(theirs._clock.now(), healthy=True)
        theirs.apply()
        assert other.breaker.ejected, "a good health check does not undo what an operator did"
        mine.readmit("up/m")
        theirs.apply()
        assert (one.breaker.ejected, other.breaker.ejected, theirs.paths) == (False, False, [])


def test_a_worker_that_ends_does_not_hold_for_ever() -> None:
    known = Known()
    held = HeldTargets(lambda: known)  # type: ignore[arg-type,return-value]
    held.eject("up/m")
    now = held._clock.now()
    assert not known.breaker.admit(now)
    assert known.breaker.admit(now + HOLD_SECONDS * 2), "without another look it is probed"


def test_two_workers_that_eject_at_once_both_succeed(tmp_path: Any, monkeypatch: Any) -> None:
    class NoRoutes:
        def breakers(self) -> dict[str, Any]:
            return {}

    one, other = (HeldTargets(NoRoutes) for _ in range(2))  # type: ignore[arg-type]
    one._file = other._file = tmp_path / "held-targets.json"
    others: list[Any] = []
    read = one._read

    def read_while_the_other_ejects() -> Any:
        held = read()
        if not others:
            others.append(pool.submit(other.eject, "up/b"))
            wait(others, 0.2)
        return held

    monkeypatch.setattr(one, "_read", read_while_the_other_ejects)
    with ThreadPoolExecutor(1) as pool:
        one.eject("up/a")
    others[0].result()
    assert read().held == {"up/a", "up/b"}


async def test_a_stream_for_which_there_is_no_room_any_more_ends() -> None:
    service: Any = SimpleNamespace(draining=False)
    async with asyncio.timeout(2):
        assert [event async for event in admin._stream(service, service, asyncio.Semaphore(0))] == []


def test_a_target_that_its_breakers_ejected_is_readmitted_in_all_workers() -> None:
    with shared_folder():
        one, other = Known(), Known()
        mine, theirs = HeldTargets(lambda: one), HeldTargets(lambda: other)  # type: ignore[arg-type,return-value]
        for known in (one, other):
            known.breaker.hold(mine._clock.now(), 60.0)
        theirs.apply()
        mine.readmit("up/m")
        theirs.apply()
        assert (one.breaker.ejected, other.breaker.ejected) == (False, False)
        other.breaker.hold(mine._clock.now(), 60.0)
        theirs.apply()
        assert other.breaker.ejected, "once, and not at every look"
