"""GET /v1/status and the headers that tell how an answer came about."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.access.keys import new_key
from gateway.telemetry import metrics
from gateway.telemetry.metric_store import MetricStore
from gateway.telemetry.status import take_snapshot
from tests.gateway.telemetry.conftest import BODY


async def test_after_requests(opened, settings, upstream) -> None:
    client = await opened(settings())
    assert (await client.get("/v1/status")).json()["targets"] == []
    await client.post("/v1/rerank", json=BODY)
    upstream.reply_with(500, {})
    await client.post("/v1/rerank", json=BODY)
    status = (await client.get("/v1/status")).json()
    (target,) = status["targets"]
    assert (target["provider"], target["model"]) == ("cohere", "m")
    assert target["attempts"] - target["errors"] == 1
    assert target["errors_by_type"] == {"upstream_error": target["errors"]}
    assert 0 < target["latency_ms"]["p50"] <= target["latency_ms"]["p99"]
    assert status["requests"] == {"ok": 1, "error": 1, "cancelled": 0}
    assert status["overhead_ms"]["p50"] > 0
    assert status["in_flight"] == 0
    assert status["local"] == []


async def test_needs_a_key_where_keys_are_configured(opened, settings) -> None:
    secret, digest = new_key()
    client = await opened(settings(auth={"keys": [{"name": "ops", "hash": digest}]}))
    assert (await client.get("/v1/status")).status_code == 401
    answer = await client.get("/v1/status", headers={"authorization": f"Bearer {secret}"})
    assert answer.status_code == 200


def test_the_worst_state_of_all_workers_counts() -> None:
    store = MetricStore(metrics.METRICS)
    store.set(metrics.TARGET_STATE, ("cohere", "m", "closed"), 3.0)
    store.set(metrics.TARGET_STATE, ("cohere", "m", "open"), 1.0)
    store.set(metrics.TARGET_STATE, ("jina", "n", "closed"), 4.0)
    store.set(metrics.TARGET_STATE, ("jina", "n", "open"), 0.0)
    store.set(metrics.KEY_STATE, ("cohere", "main", "cooling"), 1.0)
    store.set(metrics.QUEUE_TOKENS, ("local", "m"), 77.0)
    found = take_snapshot(store)
    assert [(target.provider, target.state) for target in found.targets] == [("cohere", "open"), ("jina", "closed")]
    assert [(key.key, key.state) for key in found.keys] == [("main", "cooling")]
    assert found.queues[0].queued_tokens == 77


async def post(client: Any, **headers: str) -> Any:
    return await client.post("/v1/rerank", json=BODY, headers=headers)


async def test_headers_of_an_answer(opened, settings) -> None:
    client = await opened(settings(models={"best": {"target": "cohere/m"}}))
    answer = await client.post("/v1/rerank", json={**BODY, "model": "best"}, headers={"x-request-id": "mine"})
    assert answer.headers["x-request-id"] == "mine"
    assert answer.headers["x-gateway-provider"] == "cohere"
    assert answer.headers["x-gateway-requested-model"] == "best"
    assert answer.headers["x-gateway-model"] == "m"
    assert answer.headers["x-gateway-attempts"] == "1"
    assert 0 < float(answer.headers["x-gateway-overhead-ms"]) < 60_000
    assert "traceparent" not in answer.headers


async def test_headers_of_a_failure(opened, settings, upstream) -> None:
    upstream.reply_with(400, {"message": "no"})
    client = await opened(settings())
    answer = await post(client)
    assert answer.headers["x-gateway-attempts"] == "1"
    assert "x-gateway-provider" not in answer.headers


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        pytest.param("cohere/m\r\nx-evil: 1", "m%0D%0Ax-evil: 1", id="line break"),
        pytest.param("cohere/模型", "%E6%A8%A1%E5%9E%8B", id="not Latin"),
    ],
)
async def test_a_hostile_model_name_forges_no_header(opened, settings, model, shown) -> None:
    client = await opened(settings())
    answer = await client.post("/v1/rerank", json={**BODY, "model": model})
    assert answer.headers["x-gateway-model"] == shown
    assert "x-evil" not in answer.headers


async def test_traceparent_when_asked(opened, settings, spans) -> None:
    client = await opened(settings())
    assert "traceparent" not in (await post(client)).headers
    given = (await post(client, **{"x-gateway-traceparent": "true"})).headers["traceparent"]
    server = spans.all()[-3]
    assert given == f"00-{server.context.trace_id:032x}-{server.context.span_id:016x}-01"
