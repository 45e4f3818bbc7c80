"""What the policies do to a request, as spans, metrics and status show it."""

from __future__ import annotations

from typing import Any

from tests.gateway.telemetry.conftest import BODY
from tests.gateway.telemetry.test_metrics import read, value

SERVER, RERANK = "POST /v1/rerank", "rerank cohere/m"
USUAL = (200, {"results": [{"index": 0, "relevance_score": 0.9}]}, {})
OPENS_AT_ONCE = {"failures": 1}


def failing_first(upstream: Any, *answers: Any) -> None:
    first = iter(answers)
    upstream.behaviour = lambda asked: next(first, USUAL)


def tuned(settings: Any, **more: Any) -> dict[str, Any]:
    tree: dict[str, Any] = settings()
    tree["providers"]["cohere"] |= more
    return tree


async def test_retry(opened, settings, spans, upstream) -> None:
    failing_first(upstream, (503, {}, {}))
    client = await opened(tuned(settings, retry={"retries": 1, "base_backoff": 0.001}))
    assert (await client.post("/v1/rerank", json=BODY)).headers["x-gateway-attempts"] == "2"
    assert spans.tree() == [SERVER, [[RERANK, [["attempt cohere"], ["attempt cohere"]]]]]
    first, second = spans.named("attempt")
    assert (first["rerank_gateway.attempt.retry"], first["error.type"]) == (0, "upstream_error")
    assert (second["rerank_gateway.attempt.retry"], second["rerank_gateway.attempt.fallback"]) == (1, 0)
    assert "error.type" not in second
    samples = await read(client)
    assert value(samples, "rerank_gateway_retries_total", provider="cohere") == 1
    assert value(samples, "rerank_gateway_fallbacks_served_total") == 0


async def test_breaker_open(opened, settings, spans, upstream) -> None:
    failing_first(upstream, (500, {}, {}))
    client = await opened(tuned(settings, breaker=OPENS_AT_ONCE))
    await client.post("/v1/rerank", json=BODY)
    spans.exporter.clear()
    answer = await client.post("/v1/rerank", json={**BODY, "fallbacks": ["jina/n"]})
    assert answer.status_code == 200
    assert spans.tree() == [SERVER, [[RERANK, [["attempt cohere"], ["attempt jina"]]]]]
    first, second = spans.named("attempt")
    assert first["error.type"] == "breaker_open"
    assert "http.response.status_code" not in first
    assert second["rerank_gateway.attempt.fallback"] == 1
    samples = await read(client)
    assert value(samples, "rerank_gateway_attempts_total", outcome="skipped", error_type="breaker_open") == 1
    assert value(samples, "rerank_gateway_target_state", provider="cohere", state="open") == 1
    assert value(samples, "rerank_gateway_target_state", provider="jina", state="closed") == 1
    status = (await client.get("/v1/status")).json()
    found = {target["provider"]: target for target in status["targets"] if "state" in target}
    assert found["cohere"]["state"] == "open"
    assert found["jina"]["state"] == "closed"


async def test_a_second_key(opened, settings, spans, upstream) -> None:
    tree = settings()
    keys = [{"name": "old", "key": "k-old", "weight": 1000}, {"name": "new", "key": "k-new", "weight": 0.0001}]
    tree["providers"]["cohere"] = {"base_url": upstream.url, "api_keys": keys}
    upstream.behaviour = lambda asked: (401, {}, {}) if asked.headers["authorization"].endswith("old") else USUAL
    client = await opened(tree)
    assert (await client.post("/v1/rerank", json=BODY)).status_code == 200
    first, second = spans.named("attempt")
    assert (first["rerank_gateway.provider.key"], first["error.type"]) == ("old", "upstream_credentials")
    assert first["http.response.status_code"] == 401
    assert second["rerank_gateway.provider.key"] == "new"
    told = [asked.headers["traceparent"].split("-")[2] for asked in upstream.requests]
    made = sorted((s for s in spans.all() if s.name.startswith("attempt")), key=lambda s: s.start_time)
    assert told == [format(span.context.span_id, "016x") for span in made]
    samples = await read(client)
    assert value(samples, "rerank_gateway_key_state", key="old", state="rejected") == 1
    assert value(samples, "rerank_gateway_key_state", key="new", state="ok") == 1
    keys_shown = (await client.get("/v1/status")).json()["keys"]
    assert {"provider": "cohere", "key": "old", "state": "rejected"} in keys_shown


async def test_hedge(opened, settings, spans, upstreams) -> None:
    slow, quick = upstreams(), upstreams()
    tree = settings()
    tree["providers"] = {
        "cohere": {"base_url": slow.url, "api_key": "k"},
        "jina": {"base_url": quick.url, "api_key": "k"},
    }
    tree["models"] = {"best": {"targets": [{"target": "cohere/m"}, {"target": "jina/n"}], "hedge": {"after": 1.0}}}
    client = await opened(tree)
    for _ in range(10):  # a hedge is one call in ten at most
        await client.post("/v1/rerank", json={**BODY, "model": "best"})
    spans.exporter.clear()
    slow.hold()
    answer = await client.post("/v1/rerank", json={**BODY, "model": "best"})
    slow.release()
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-gateway-provider"] == "jina"
    assert spans.tree() == [SERVER, [["rerank best", [["attempt cohere"], ["attempt jina"]]]]]
    first, second = spans.named("attempt")
    assert (first["error.type"], first["rerank_gateway.attempt.hedged"]) == ("cancelled", False)
    assert second["rerank_gateway.attempt.hedged"] is True
    assert "error.type" not in second
    assert value(await read(client), "rerank_gateway_hedges_total", provider="jina", outcome="won") == 1


async def test_passthrough(opened, settings, spans, upstream) -> None:
    upstream.reply_with(500, {})
    tree = tuned(settings)
    tree["providers"]["passthrough"] = {}
    tree["models"] = {"best": {"target": "cohere/m", "fallbacks": ["passthrough/any"]}}
    client = await opened(tree)
    answer = await client.post("/v1/rerank", json={**BODY, "model": "best"})
    assert answer.json()["extra_fields"]["degraded"] is True
    assert spans.named("rerank")[0]["rerank_gateway.degraded"] is True
    assert {span.name: span.kind.name for span in spans.all()}["attempt passthrough"] == "INTERNAL"
    assert value(await read(client), "rerank_gateway_degraded_answers_total", model="best") == 1


async def test_waiting_for_a_retry_is_no_overhead(opened, settings, upstream) -> None:
    failing_first(upstream, (503, {}, {"retry-after-ms": "300"}))
    client = await opened(tuned(settings, retry={"retries": 1, "max_retry_after": 5}))
    answer = await client.post("/v1/rerank", json=BODY)
    assert answer.headers["x-gateway-attempts"] == "2"
    samples = await read(client)
    total = value(samples, "rerank_gateway_request_duration_seconds_sum")
    assert total >= 0.3
    assert value(samples, "rerank_gateway_overhead_seconds_sum") <= total - 0.3


def test_names_that_only_callers_wrote_share_one_label() -> None:
    from types import SimpleNamespace

    from gateway.policy.breaker import BreakerSettings, BreakerState
    from gateway.runtime.instruments import breaker_readings
    from gateway.telemetry.metrics import LabelAllowlist

    breakers = {f"cohere/invented-{number}": [BreakerState(BreakerSettings())] for number in range(50)}
    routes: Any = SimpleNamespace(breakers=lambda: breakers, key_states=list)
    assert [labels for _, labels, _ in breaker_readings(routes, LabelAllowlist().label)] == [
        ("cohere", "_other", "closed")
    ]
