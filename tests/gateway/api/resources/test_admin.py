"""What operators see and do: by an admin key only, without any text, and within bounds."""

from __future__ import annotations

import asyncio
import os
import signal
import tracemalloc
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from time import time
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.access.keys import hash_of
from gateway.api.resources import admin
from gateway.policy.breaker import BreakerSettings, BreakerState
from gateway.runtime import holds, signals
from gateway.runtime.holds import HOLD_SECONDS, HeldTargets
from gateway.telemetry import metrics
from gateway.telemetry.exchange import Exchange
from gateway.telemetry.history import MAX_INCIDENTS, MAX_SAMPLES, SAMPLE_SECONDS, History
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


def anybody() -> None:
    """Lets everybody look."""


@pytest.mark.parametrize(
    "auth",
    [
        pytest.param([{"name": "other", "hash": hash_of("other"), "admin": True}], id="the key is gone"),
        pytest.param([{"name": "ops", "hash": hash_of("ops")}], id="it is no admin any more"),
        pytest.param([{"name": "ops", "hash": hash_of("ops"), "admin": True, "expires": "2020-01-01"}], id="expired"),
    ],
)
async def test_a_stream_ends_with_the_right_to_look(monkeypatch, upstream, auth: Any) -> None:
    from gateway.config.loader import from_tree
    from gateway.runtime.service import Service

    service = Service(from_tree(tree(upstream)))
    await service.open()
    monkeypatch.setattr(admin, "EVENT_SECONDS", 0.0)
    headers = [(b"authorization", b"Bearer ops")]
    check = partial(admin._check_admin, service, headers)
    stream = admin._stream(service, admin.LatestState(service), asyncio.Semaphore(9), check)
    assert await anext(stream)
    service.replace_keys(from_tree(tree(upstream, auth={"keys": auth})))
    assert [event async for event in stream] == []
    await service.aclose()


async def test_many_who_watch_cost_as_much_as_one(monkeypatch, upstream) -> None:
    from gateway.config.loader import from_tree
    from gateway.runtime.service import Service

    service = Service(from_tree(tree(upstream)))
    await service.open()
    taken: list[Any] = []
    take = admin.take_snapshot
    monkeypatch.setattr(admin, "take_snapshot", lambda store: taken.append(store) or take(store))
    latest = admin.LatestState(service)
    events = await asyncio.gather(*(latest.read() for _ in range(admin.MAX_WATCHERS)))
    assert (len(taken), len(set(events))) == (1, 1)
    monkeypatch.setattr(admin, "SHARE_SECONDS", 0.0)
    latest = admin.LatestState(service)
    assert [bool(await latest.read()) for _ in range(3)] == [True] * 3
    assert len(taken) == 4
    await service.aclose()


async def test_there_is_nothing_to_reload_without_a_file(opened, upstream) -> None:
    """The signal that reloads ends a process that does not wait for it."""
    client = await opened(tree(upstream))
    answer = await client.post("/v1/admin/reload", headers=key("ops"))
    assert (answer.status_code, answer.json()["error_type"]) == (400, "invalid_request")
    assert "without a configuration file" in answer.json()["message"]
    assert (await client.get("/livez")).status_code == 200


@pytest.mark.parametrize(
    ("shared", "parent", "signalled"),
    [
        pytest.param(True, "is the supervisor", True, id="a worker of ours"),
        pytest.param(False, "is the supervisor", False, id="a worker of another server"),
        pytest.param(True, "has died", False, id="an orphan"),
        pytest.param(True, "never was", False, id="a process that inherited the folder"),
        pytest.param(False, "never was", False, id="alone"),
    ],
)
def test_only_a_supervisor_of_ours_is_signalled(
    monkeypatch, tmp_path, shared: bool, parent: str, signalled: bool
) -> None:
    supervisor = {
        "is the supervisor": SimpleNamespace(pid=os.getppid()),
        "has died": SimpleNamespace(pid=os.getppid() + 1),
        "never was": None,
    }[parent]
    sent: list[Any] = []
    here: list[str] = []
    monkeypatch.setattr(signals.multiprocessing, "parent_process", lambda: supervisor)
    monkeypatch.setattr(signals, "find_shared_folder", lambda environ: tmp_path if shared else None)
    monkeypatch.setattr(signals.os, "kill", lambda *arguments: sent.append(arguments))
    signals.reload_all_workers(lambda: here.append("reloaded"))
    assert sent == ([(os.getppid(), signal.SIGHUP)] if signalled else [])
    assert here == ([] if signalled else ["reloaded"])


@pytest.mark.parametrize("path", ["/admin/", "/docs/"])
async def test_a_page_with_a_slash_at_its_end_is_found_by_its_scripts(opened, upstream, path: str) -> None:
    client = await opened(tree(upstream))
    answer = await client.get(path)
    assert (answer.status_code, answer.headers["location"]) == (308, f"..{path[:-1]}")


async def test_a_stream_ends_when_its_reader_goes_and_there_are_not_too_many(monkeypatch, upstream) -> None:
    from gateway.config.loader import from_tree
    from gateway.runtime.service import Service

    service = Service(from_tree(tree(upstream)))
    await service.open()
    latest, watchers = admin.LatestState(service), asyncio.Semaphore(admin.MAX_WATCHERS)
    monkeypatch.setattr(admin, "EVENT_SECONDS", 0.0)
    stream = admin._stream(service, latest, watchers, anybody)
    assert [(await anext(stream)).startswith('{"time":') for _ in range(3)] == [True] * 3
    assert watchers._value == admin.MAX_WATCHERS - 1
    await stream.aclose()
    assert watchers._value == admin.MAX_WATCHERS
    service.draining = True
    assert [event async for event in admin._stream(service, latest, watchers, anybody)] == []
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
    assert history.uptimes()["up/m7"] == pytest.approx(0.9)


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
    async with asyncio.timeout(30):
        assert [event async for event in admin._stream(service, service, asyncio.Semaphore(0), anybody)] == []


async def test_a_target_that_must_serve_though_it_is_held_stays_held(opened, upstream) -> None:
    """Where nothing else can serve it is asked all the same; that must not readmit it for those who have another."""
    settings = tree(upstream)
    settings["models"]["alone"] = {"target": "up/m"}
    client = await opened(settings)
    await client.post("/v1/admin/eject", json={"target": "up/m"}, headers=key("ops"))
    served = []
    for model in ("alone", "search", "alone", "search"):
        answer = await client.post("/v1/rerank", json={**BODY, "model": model}, headers=key("team"))
        served.append(answer.headers["x-gateway-provider"])
    assert served == ["up", "spare", "up", "spare"]


def test_a_good_health_check_does_not_readmit_between_two_looks() -> None:
    with shared_folder():
        known = Known()
        held = HeldTargets(lambda: known)  # type: ignore[arg-type,return-value]
        held.eject("up/m")
        now = held._clock.now()
        known.breaker.record_health_check(now, healthy=True)
        assert known.breaker.ejected
        known.breaker.record_health_check(now + HOLD_SECONDS * 2, healthy=True)
        assert not known.breaker.ejected, "the worker that held it is gone"


@pytest.mark.parametrize("jump", [-7200.0, -30.0, 30.0, 7200.0])
def test_a_clock_that_is_set_anew_loses_no_readmission(monkeypatch, jump: float) -> None:
    with shared_folder():
        one, other = Known(), Known()
        mine, theirs = HeldTargets(lambda: one), HeldTargets(lambda: other)  # type: ignore[arg-type,return-value]
        now = time()
        for offset in (0.0, jump):
            monkeypatch.setattr(holds, "time", lambda offset=offset: now + offset)
            for known in (one, other):
                known.breaker.hold(mine._clock.now(), 60.0)
            mine.readmit("up/m")
            theirs.apply()
            assert (one.breaker.ejected, other.breaker.ejected) == (False, False)


def test_a_new_worker_does_not_repeat_old_readmissions() -> None:
    with shared_folder():
        known = Known()
        HeldTargets(lambda: known).readmit("up/m")  # type: ignore[arg-type,return-value]
        late = HeldTargets(lambda: known)  # type: ignore[arg-type,return-value]
        known.breaker.hold(late._clock.now(), 60.0)
        late.apply()
        assert known.breaker.ejected


async def test_a_reload_holds_what_was_held_at_once(upstream) -> None:
    """A changed provider has new breakers, which know nothing of it."""
    from gateway.config.loader import from_tree
    from gateway.routing import routes as routing
    from gateway.runtime.service import Service

    before = tree(upstream)
    service = Service(from_tree(before))
    await service.open()
    service.held.eject("up/m")
    providers = {**before["providers"], "up": {**before["providers"]["up"], "timeout": 7}}
    config = from_tree({**before, "providers": providers})
    old, new = service.routes, routing.build(config, service.routes)
    service.replace(config, new)
    assert new.breakers()["up/m"][0] is not old.breakers()["up/m"][0]
    assert new.breakers()["up/m"][0].ejected
    await old.aclose(new)
    await service.aclose()


@pytest.mark.parametrize("jump", [-7200.0, -SAMPLE_SECONDS, 0.0])
def test_a_clock_that_is_set_back_does_not_turn_the_hour_around(jump: float) -> None:
    store, history = MetricStore(metrics.METRICS), History()
    for now in (1000.0, 1015.0, 1030.0, 1030.0 + jump, 1045.0 + jump, 1060.0):
        history.add_sample(now, store.read())
    times = [sample.time for sample in history.samples]
    assert times == sorted(set(times))
    assert times[-1] == 1060.0


def test_uptime_is_that_of_the_last_hour() -> None:
    store, history = MetricStore(metrics.METRICS), History()
    history.add_sample(0.0, store.read())
    for sample in range(MAX_SAMPLES + 1):
        store.add(metrics.ATTEMPTS, ("up", "m", "ok", ""), 1.0)
        if sample == 0:
            store.add(metrics.ATTEMPTS, ("up", "m", "error", "x"), 1.0)
            store.add(metrics.ATTEMPTS, ("up", "old", "ok", ""), 1.0)
        history.add_sample(sample * SAMPLE_SECONDS, store.read())
        if sample == 0:
            assert history.uptimes() == {"up/m": 0.5, "up/old": 1.0}
    assert history.uptimes() == {"up/m": 1.0}
    assert len(history._attempts) == MAX_SAMPLES


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
