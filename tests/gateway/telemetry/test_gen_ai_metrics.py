"""The client metrics of the GenAI conventions: off by default, and with the attributes that the conventions demand."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource

from gateway.telemetry.attributes import ProviderAddress
from gateway.telemetry.exchange import Exchange
from gateway.telemetry.gen_ai_metrics import GEN_AI_METRICS, INPUT_TOKENS, OPERATION_DURATION, OUTPUT_TOKENS
from gateway.telemetry.gen_ai_metrics import GenAiMetrics as Counting
from gateway.telemetry.metric_store import MetricStore
from gateway.telemetry.metrics import LabelAllowlist
from gateway.telemetry.otlp_metrics import metrics_data
from gateway.telemetry.recorder import RequestRecorder
from providers.attempts import AttemptRecord
from providers.types import Call, Ranked, Ranking, Usage
from tests.gateway.telemetry.conftest import BODY
from tests.gateway.telemetry.test_metrics import read, value

PEERS = {"team-b": ProviderAddress("cohere", "api.cohere.com", 443), "local": ProviderAddress("local")}
OF_TEAM_B = ("rerank", "cohere", "m", "api.cohere.com", "443")
OF_LOCAL = ("rerank", "local", "m", "", "")


def attempt(provider: str = "team-b", error: str = "", model: str = "m") -> AttemptRecord:
    return AttemptRecord(provider=provider, model=model, start=1.0, end=1.5, error_type=error)


def exchange(*attempts: AttemptRecord, usage: Usage | None = None) -> Exchange:
    call = Call(id="r", recorder=RequestRecorder())
    for each in attempts:
        call.recorder.add_attempt(each)
    told = Exchange("unified", call, 1.0, status=200)
    last = attempts[-1]
    if not last.error_type:
        told.ranking = Ranking(results=[Ranked(0, 0.5)], provider=last.provider, model=last.model, usage=usage)
    return told


def counted(told: Exchange) -> dict[tuple[str, tuple[str, ...]], float]:
    """How many durations, or how many tokens, by metric and labels."""
    store = MetricStore(GEN_AI_METRICS)
    Counting(store, LabelAllowlist({"m"}), PEERS).request_ended(told)
    return {
        key: sum(values[:-1]) if key[0] == OPERATION_DURATION.name else values[0]
        for key, values in store.read().items()
    }


BILLED = Usage(prompt_tokens=57, completion_tokens=3, total_tokens=60, billed_tokens=70)
CASES: dict[str, tuple[Exchange, dict[tuple[str, tuple[str, ...]], float]]] = {
    "success": (exchange(attempt()), {(OPERATION_DURATION.name, (*OF_TEAM_B, "")): 1}),
    "in the gateway": (exchange(attempt("local")), {(OPERATION_DURATION.name, (*OF_LOCAL, "")): 1}),
    "a fallback": (
        exchange(attempt(error="upstream_error"), attempt("local")),
        {
            (OPERATION_DURATION.name, (*OF_TEAM_B, "upstream_error")): 1,
            (OPERATION_DURATION.name, (*OF_LOCAL, "")): 1,
        },
    ),
    "cancelled": (exchange(attempt(error="cancelled")), {}),
    "skipped": (exchange(attempt(error="breaker_open")), {}),
    "a model outside of the bounded set": (
        exchange(attempt(model="invented")),
        {(OPERATION_DURATION.name, ("rerank", "cohere", "_other", "api.cohere.com", "443", "")): 1},
    ),
    "tokens used": (
        exchange(attempt(), usage=Usage(prompt_tokens=57, completion_tokens=3, total_tokens=60)),
        {
            (OPERATION_DURATION.name, (*OF_TEAM_B, "")): 1,
            (INPUT_TOKENS.name, (*OF_TEAM_B, "unknown")): 57,
            (OUTPUT_TOKENS.name, (*OF_TEAM_B, "unknown")): 3,
        },
    ),
    "tokens billed": (
        exchange(attempt(), usage=BILLED),
        {(OPERATION_DURATION.name, (*OF_TEAM_B, "")): 1, (INPUT_TOKENS.name, (*OF_TEAM_B, "unknown")): 70},
    ),
}


@pytest.mark.parametrize(("told", "expected"), CASES.values(), ids=CASES)
def test_what_a_finished_request_adds(told, expected) -> None:
    assert counted(told) == expected


async def test_off_by_default(opened, settings) -> None:
    client = await opened(settings())
    await client.post("/v1/rerank", json=BODY)
    assert "gen_ai" not in (await client.get("/metrics")).text


async def test_at_metrics(opened, settings, upstream) -> None:
    meta = {"tokens": {"input_tokens": 57}, "billed_units": {"input_tokens": 60}}
    upstream.reply_with(200, {"results": [{"index": 0, "relevance_score": 0.9}], "meta": meta})
    client = await opened(settings(telemetry={"metrics": {"gen_ai": True}}))
    await client.post("/v1/rerank", json=BODY)
    samples = await read(client)
    labels = {
        "gen_ai_operation_name": "rerank",
        "gen_ai_provider_name": "cohere",
        "gen_ai_request_model": "m",
        "server_address": "127.0.0.1",
        "server_port": upstream.url.rsplit(":", 1)[1],
    }
    assert value(samples, "gen_ai_client_operation_duration_seconds_count", **labels) == 1
    tokens = "gen_ai_client_inference_usage_input_tokens_total"
    assert value(samples, tokens, **labels, gen_ai_token_modality="unknown") == 60


def test_by_otlp() -> None:
    store = MetricStore(GEN_AI_METRICS)
    Counting(store, LabelAllowlist({"m"}), PEERS).request_ended(exchange(attempt(), usage=BILLED))
    data: Any = metrics_data(store, Resource({}), 0).resource_metrics[0].scope_metrics[0].metrics
    found = {metric.name: (metric.unit, dict(metric.data.data_points[0].attributes)) for metric in data}
    operation = {
        "gen_ai.operation.name": "rerank",
        "gen_ai.provider.name": "cohere",
        "gen_ai.request.model": "m",
        "server.address": "api.cohere.com",
        "server.port": 443,
    }
    assert found == {
        "gen_ai.client.operation.duration": ("s", operation),
        "gen_ai.client.inference.usage.input_tokens": ("{token}", {**operation, "gen_ai.token.modality": "unknown"}),
    }
