"""A provider with several addresses, through a whole gateway: each has its own breaker, keys, health and share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.config.loader import from_tree
from gateway.policy.health_check import HealthCheck
from gateway.routing.routes import Routes, build
from gateway.telemetry.recorder import RequestRecorder
from providers.testing.upstream import ReceivedRequest, Reply, ScriptedUpstream, rank_by_words
from providers.types import Call, RerankRequest
from tests.conftest import Open


@pytest.fixture
def two() -> Iterator[list[ScriptedUpstream]]:
    upstreams = [ScriptedUpstream(), ScriptedUpstream()]
    yield upstreams
    for upstream in upstreams:
        upstream.close()


def tree(upstreams: list[ScriptedUpstream], **settings: Any) -> dict[str, Any]:
    urls = [upstream.url for upstream in upstreams]
    gpu = {"adapter": "vllm", "proxy": "none", "base_urls": urls, "strategy": "ordered", **settings}
    return {"providers": {"gpu": gpu}, "models": {"best": {"target": "gpu/m"}}}


async def post(client: httpx.AsyncClient, documents: int = 2) -> httpx.Response:
    texts = [f"text {place}" for place in range(documents)]
    return await client.post("/v1/rerank", json={"model": "best", "query": "q", "documents": texts})


def counts(upstreams: list[ScriptedUpstream]) -> list[int]:
    return [len(upstream.requests) for upstream in upstreams]


@pytest.mark.parametrize(
    "trouble", ["fails", "is overloaded", "limits the rate", "answers with a web page", "breaks off", "hangs up"]
)
async def test_one_address_in_trouble_costs_no_request_and_no_other_address(
    opened: Open, two: list[ScriptedUpstream], trouble: str
) -> None:
    """With default settings. In the end the broken one is left alone, and what it said holds for it alone."""
    two[0].behave(trouble)
    client = await opened(tree(two))
    answers = [await post(client) for _ in range(12)]
    assert {answer.status_code for answer in answers} == {200}
    asked = counts(two)
    assert asked[1] == 12
    assert asked[0] < 12


async def test_an_address_that_dies_costs_none_of_many_requests(opened: Open, two: list[ScriptedUpstream]) -> None:
    client = await opened(tree(two, strategy="weighted"))
    assert (await post(client)).status_code == 200
    two[0].close()
    answers = await asyncio.gather(*(post(client) for _ in range(40)))
    assert {answer.status_code for answer in answers} == {200}
    two[0] = ScriptedUpstream()  # So that the fixture has one to close.


async def test_a_refused_request_is_refused_by_one_address(opened: Open, two: list[ScriptedUpstream]) -> None:
    two[0].behave("refuses the request")
    client = await opened(tree(two))
    assert (await post(client)).status_code == 400
    assert counts(two) == [1, 0]


async def test_the_parts_of_a_split_request_go_to_several_addresses(opened: Open, two: list[ScriptedUpstream]) -> None:
    limits = {"*": {"limits": {"documents": 5}, "scoring": "pointwise"}}
    client = await opened(tree(two, strategy="weighted", capabilities=limits))
    answer = await post(client, documents=100)
    assert answer.status_code == 200
    assert len(answer.json()["results"]) == 100
    assert sum(counts(two)) == 20
    assert min(counts(two)) > 0  # All to one: once in half a million.


async def test_weights(opened: Open, two: list[ScriptedUpstream]) -> None:
    urls = [{"url": two[0].url, "weight": 9}, two[1].url]
    client = await opened(tree(two, strategy="weighted", base_urls=urls))
    for _ in range(100):
        await post(client)
    assert 75 <= counts(two)[0] <= 99


async def test_attempts_say_which_address(two: list[ScriptedUpstream]) -> None:
    two[0].behave("fails")
    routes = build(from_tree(tree(two)))
    recorder = RequestRecorder()
    request = RerankRequest(model="gpu/m", query="q", documents=["a", "b"], call=Call(id="1", recorder=recorder))
    await routes.steps(["gpu/m"])[0].backend.rerank(request)
    assert [attempt.address for attempt in recorder.attempts] == [each.url.removeprefix("http://") for each in two]
    await routes.aclose()


async def test_metrics_count_the_breakers_of_all_addresses(opened: Open, two: list[ScriptedUpstream]) -> None:
    two[0].behave("fails")
    client = await opened(tree(two, breaker={"failures": 1}))
    await post(client)
    lines = (await client.get("/metrics")).text.splitlines()
    states = {line for line in lines if line.startswith("rerank_gateway_target_state{")}
    labels = 'model="m",provider="gpu"'
    assert states == {f'rerank_gateway_target_state{{{labels},state="{state}"}} 1.0' for state in ("open", "closed")}


def checks(routes: Routes) -> list[HealthCheck]:
    return routes._health_checks


async def test_each_address_has_its_own_health(two: list[ScriptedUpstream]) -> None:
    def sick(request: ReceivedRequest) -> Reply:
        return Reply(503, {}) if request.path == "/health" else rank_by_words(request)

    def well(_: ReceivedRequest) -> Reply:
        return Reply(200, {})

    two[0].behaviour, two[1].behaviour = sick, well
    routes = build(from_tree(tree(two, health_check={"url": "/health", "failures": 1})))
    routes.resolve("gpu/m")
    assert [await check.check() for check in checks(routes)] == [False, True]
    assert [breaker.ejected for breaker in routes.breakers()["gpu/m"]] == [True, False]
    two[0].behaviour = well
    assert await checks(routes)[0].check()
    assert not any(breaker.ejected for breaker in routes.breakers()["gpu/m"])
    await routes.aclose()


async def test_a_silent_address_keeps_no_other_from_its_check(two: list[ScriptedUpstream]) -> None:
    """All addresses are checked through one client, at the same moments."""
    for upstream in two:
        upstream.reply_with(200, {})
    two[0].hold()
    routes = build(from_tree(tree(two, health_check={"url": "/health"})))
    routes.resolve("gpu/m")
    silent = asyncio.create_task(checks(routes)[0].check())
    while not two[0].requests:  # noqa: ASYNC110  it is in a thread, and tells nobody
        await asyncio.sleep(0)
    assert [await checks(routes)[1].check() for _ in range(3)] == [True] * 3
    assert not silent.done()
    two[0].release()
    await silent
    assert counts(two) == [1, 3]
    await routes.aclose()


async def test_a_path_is_asked_at_the_only_address_too(upstream: ScriptedUpstream) -> None:
    gpu = {"adapter": "vllm", "proxy": "none", "base_url": f"{upstream.url}/prefix/v1", "health_check": {"url": "/h"}}
    routes = build(from_tree({"providers": {"gpu": gpu}}))
    await checks(routes)[0].check()
    assert [request.path for request in upstream.requests] == ["/h"]
    await routes.aclose()


async def test_a_target_held_by_hand_is_held_everywhere(opened: Open, two: list[ScriptedUpstream]) -> None:
    config = tree(two)
    config["models"]["best"]["fallbacks"] = ["passthrough/any"]
    config["providers"]["passthrough"] = {}
    client = await opened(config)
    await post(client)
    await client.post("/v1/admin/eject", json={"target": "gpu/m"})
    held = await post(client)
    assert held.json()["extra_fields"]["provider"] == "passthrough"
    await client.post("/v1/admin/readmit", json={"target": "gpu/m"})
    assert (await post(client)).json()["extra_fields"]["provider"] == "gpu"
    assert counts(two) == [2, 0]


@pytest.mark.parametrize(
    ("change", "kept"), [({}, True), ({"strategy": "weighted"}, False)], ids=["unchanged", "changed"]
)
async def test_a_reload_keeps_what_is_known_of_each_address(
    two: list[ScriptedUpstream], change: dict[str, Any], kept: bool
) -> None:
    first = build(from_tree(tree(two)))
    first.resolve("gpu/m")
    second = build(from_tree(tree(two, **change)), first)
    second.resolve("gpu/m")
    pairs = zip(first.breakers()["gpu/m"], second.breakers()["gpu/m"], strict=True)
    assert [old is new for old, new in pairs] == [kept, kept]
    await first.aclose(second)
    await second.aclose()


@pytest.mark.parametrize("strategy", ["ordered", "weighted", "sticky", "least_latency"])
async def test_every_strategy_serves(opened: Open, two: list[ScriptedUpstream], strategy: str) -> None:
    client = await opened(tree(two, strategy=strategy))
    assert [(await post(client)).status_code for _ in range(10)] == [200] * 10
    assert sum(counts(two)) == 10
    assert (min(counts(two)) > 0) is (strategy != "ordered") or strategy == "sticky"


async def test_a_rate_limit_counts_each_address_that_was_asked(opened: Open, two: list[ScriptedUpstream]) -> None:
    two[0].behave("fails")
    limits = {"rate_limits": {"models": {"gpu/m": {"requests": "2/hour"}}}}
    client = await opened({**tree(two), **limits})
    assert (await post(client)).status_code == 200
    assert (await post(client)).status_code == 429
    assert counts(two) == [1, 1]
