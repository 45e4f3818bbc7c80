"""The policies as they are composed: what a caller of the gateway sees of them."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import httpx
import pytest

from tests.conftest import Open
from tests.faults.server import FaultServer

ASK = {"model": "best", "query": "q", "documents": ["a", "b"]}


@pytest.fixture(scope="module")
def faulty() -> Any:
    server = FaultServer().start()
    yield server
    server.stop()


def provider(server: FaultServer, mode: str, **settings: Any) -> dict[str, Any]:
    return {"adapter": "jina", "base_url": server.url(mode), "proxy": "none", **settings}


async def post(client: httpx.AsyncClient, body: Any = ASK, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return await client.post("/v1/rerank", content=content, headers=given)


async def test_passthrough_is_marked_everywhere(opened: Open, faulty: FaultServer) -> None:
    client = await opened(
        {
            "providers": {"bad": provider(faulty, "500"), "passthrough": {}},
            "models": {"best": {"target": "bad/m", "fallbacks": ["passthrough/order"]}},
        }
    )
    answer = await post(client, {**ASK, "documents": ["a", "b", "c"], "top_n": 2})
    assert answer.status_code == 200
    assert answer.headers["x-gateway-degraded"] == "true"
    assert answer.json()["extra_fields"]["degraded"] is True
    assert answer.json()["results"] == [{"index": 0, "relevance_score": 0.0}, {"index": 1, "relevance_score": 0.0}]
    metrics = (await client.get("/metrics")).text
    assert any("degraded" in line and line.endswith(" 1.0") for line in metrics.splitlines()), metrics


async def test_an_ordinary_answer_is_not_marked(opened: Open, faulty: FaultServer) -> None:
    client = await opened({"providers": {"good": provider(faulty, "good")}, "models": {"best": {"target": "good/m"}}})
    answer = await post(client)
    assert "x-gateway-degraded" not in answer.headers
    assert "degraded" not in answer.json()["extra_fields"]


async def test_an_ejected_target_is_skipped_and_said_so(opened: Open, faulty: FaultServer) -> None:
    settings = {
        "providers": {
            "bad": provider(faulty, "500", breaker={"failures": 2}, retry={"retries": 0}),
            "good": provider(faulty, "good"),
        },
        "models": {"best": {"targets": [{"target": "bad/m"}, {"target": "good/m"}]}},
    }
    client = await opened(settings)
    before = faulty.asked.get("500", 0)
    answers = [(await post(client)).json() for _ in range(3)]
    assert faulty.asked["500"] == before + 2
    assert "bad/m is not tried: breaker open for another" in answers[2]["extra_fields"]["attempts"][0]["error"]


async def test_the_last_target_is_asked_though_it_is_ejected(opened: Open, faulty: FaultServer) -> None:
    only = provider(faulty, "500", breaker={"failures": 1}, retry={"retries": 0})
    client = await opened({"providers": {"only": only}, "models": {"best": {"target": "only/m"}}})
    before = faulty.asked.get("500", 0)
    for _ in range(3):
        assert (await post(client)).json()["error_type"] == "upstream_error"
    assert faulty.asked["500"] == before + 3


async def test_a_full_bulkhead_is_429_with_a_time_to_come_again(opened: Open, faulty: FaultServer) -> None:
    only = provider(faulty, "accept and hang", bulkhead={"concurrency": 1, "queue": 0})
    client = await opened({"providers": {"only": only}, "models": {"best": {"target": "only/m"}}})
    answers = await asyncio.gather(*(post(client, x_request_timeout_ms="400") for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [429, 429, 504]
    full = next(answer for answer in answers if answer.status_code == 429)
    assert full.headers["retry-after"] == "1"
    assert full.json()["error_type"] == "overloaded"


async def test_keys_are_tried_in_turn_and_never_shown(opened: Open, faulty: FaultServer) -> None:
    keys = [{"name": "a", "key": "secret-one"}, {"name": "b", "key": "secret-two"}]
    client = await opened(
        {"providers": {"only": provider(faulty, "401", api_keys=keys)}, "models": {"best": {"target": "only/m"}}}
    )
    answer = await post(client)
    names = [attempt["error"].partition(":")[0] for attempt in answer.json()["extra_fields"]["attempts"]]
    assert answer.status_code == 502
    assert names[0] in ("key a", "key b")
    assert "secret" not in answer.text


async def test_hedging_serves_from_the_second_when_the_first_is_slow(opened: Open, faulty: FaultServer) -> None:
    settings = {
        "providers": {"slow": provider(faulty, "flip"), "good": provider(faulty, "good")},
        "models": {"best": {"targets": [{"target": "slow/m"}, {"target": "good/m"}], "hedge": {"after": 0.5}}},
    }
    client = await opened(settings)
    faulty.plays["flip"] = "good"
    for _ in range(10):
        assert (await post(client)).json()["extra_fields"]["provider"] == "slow"
    faulty.plays["flip"] = "accept and hang"
    extra = (await post(client)).json()["extra_fields"]
    assert extra["provider"] == "good"
    assert [attempt.get("error") for attempt in extra["attempts"]] == [None, "cancelled"]


@pytest.mark.parametrize(
    ("request_limits", "body", "headers", "status", "message"),
    [
        pytest.param({}, gzip.compress(json.dumps(ASK).encode()), {"content_encoding": "gzip"}, 200, "", id="gzip"),
        pytest.param(
            {},
            gzip.compress(b" " * 40_000_000),
            {"content_encoding": "gzip"},
            413,
            "more than 33554432 bytes, the limit (request_limits.body_bytes)",
            id="gzip bomb",
        ),
        pytest.param({}, b"no gzip", {"content_encoding": "gzip"}, 400, "not valid gzip", id="not gzip"),
        pytest.param(
            {}, gzip.compress(b"{}" * 99)[:-9], {"content_encoding": "gzip"}, 400, "it is cut short", id="cut gzip"
        ),
        pytest.param({}, ASK, {"content_encoding": "br"}, 415, "content-encoding is br", id="brotli"),
        pytest.param({"body_bytes": 1024}, b" " * 1025, {}, 413, "request_limits.body_bytes", id="body"),
        pytest.param({"documents": 1}, ASK, {}, 413, "limit of 1 (request_limits.documents)", id="documents"),
        pytest.param(
            {"document_bytes": 8},
            {**ASK, "documents": ["a", "b" * 9]},
            {},
            413,
            "request_limits.document_bytes",
            id="document",
        ),
        pytest.param({}, b'{"a":' * 70, {}, 400, "request_limits.json_depth", id="depth"),
        pytest.param({}, ASK, {"x_request_timeout_ms": "soon"}, 400, "whole number of milliseconds", id="timeout"),
    ],
)
async def test_limits(
    opened: Open,
    faulty: FaultServer,
    request_limits: Any,
    body: Any,
    headers: dict[str, str],
    status: int,
    message: str,
) -> None:
    client = await opened(
        {
            "providers": {"good": provider(faulty, "good")},
            "models": {"best": {"target": "good/m"}},
            "request_limits": request_limits,
        }
    )
    answer = await post(client, body, **headers)
    assert answer.status_code == status, answer.text
    assert message in answer.json().get("message", "")


async def test_what_is_left_of_the_time_is_sent_upstream(opened: Open, upstream: Any) -> None:
    settings = {"adapter": "jina", "base_url": upstream.url, "proxy": "none"}
    client = await opened({"providers": {"good": settings}, "models": {"best": {"target": "good/m"}}})
    await post(client, x_request_timeout_ms="5000")
    assert 4000 < int(upstream.requests[-1].headers["x-request-timeout-ms"]) <= 5000
