"""A model inside the gateway: where its time went, and what its queue and batches did."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from gateway.telemetry import names
from gateway.telemetry.attributes import ProviderAddress, SpanAttributes
from gateway.telemetry.content import ContentLimits, DocumentAttributes
from gateway.telemetry.exchange import Exchange
from gateway.telemetry.recorder import RequestRecorder
from gateway.telemetry.traces import Traces
from providers.attempts import AttemptRecord
from providers.local.builtin.catalogue import EMBEDDING_MODEL
from providers.types import Call, Ranked, Ranking, RerankRequest
from tests.gateway.telemetry.collector import Collector
from tests.gateway.telemetry.conftest import BODY, Spans
from tests.gateway.telemetry.test_metrics import parsed, value


def test_spans_of_the_phases_lie_one_after_the_other() -> None:
    spans = Spans()
    wording = SpanAttributes(
        names.CONVENTION_SETS["gen_ai"],
        {"local": ProviderAddress("local")},
        DocumentAttributes(ContentLimits(), names.CONVENTION_SETS["gen_ai"]),
    )
    traces = Traces(SimpleSpanProcessor(spans.exporter), Resource({}), wording, 1.0)
    call = Call(id="x", recorder=RequestRecorder())
    exchange = Exchange("unified", call, 10.0, "/v1/rerank")
    exchange.trace = traces.begin(None, "")
    exchange.read = 10.0
    exchange.request = RerankRequest(model="local/m", query="q", documents=["d"], call=call)
    details = {"tokenize_ms": 10.0, "queue_ms": 30.0, "compute_ms": 500.0, "truncated_documents": 1}
    call.recorder.add_attempt(
        AttemptRecord(provider="local", model="m", start=10.0, end=10.1, status=200, details=details, span_id=7)
    )
    ranking = Ranking(results=[Ranked(0, 1.0)], provider="local", model="m", details=details)
    exchange.ranking, exchange.status, exchange.end = ranking, 200, 10.2
    traces.make_spans(exchange)
    phases = [["tokenize"], ["queue"], ["compute"]]
    assert spans.tree() == ["POST /v1/rerank", [["rerank local/m", [["attempt local", phases]]]]]
    found = {span.name: span for span in spans.all()}
    start = found["attempt local"].start_time or 0
    lengths = {
        name: (((span.start_time or 0) - start) // 10**6, ((span.end_time or 0) - start) // 10**6)
        for name, span in found.items()
    }
    assert lengths["tokenize"] == pytest.approx((0, 10), abs=1)
    assert lengths["queue"] == pytest.approx((10, 40), abs=1)
    assert lengths["compute"] == pytest.approx((40, 100), abs=1)  # never beyond the attempt
    assert found["attempt local"].kind.name == "INTERNAL"
    assert spans.named("rerank")[0]["rerank_gateway.truncated_documents"] == 1


def test_the_embedded_model(start_gateway: Any, collector: Collector) -> None:
    settings = {"providers": {"local": {"models": {"m": {"path": EMBEDDING_MODEL.path}}}}}
    process = start_gateway(settings, environ={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    process.wait_until_ready()
    assert httpx.post(f"{process.url}/v1/rerank", json={**BODY, "model": "local/m"}, timeout=60).status_code == 200
    samples = parsed(httpx.get(f"{process.url}/metrics").text)
    served = {"provider": "local", "model": "m"}
    status = httpx.get(f"{process.url}/v1/status").json()
    assert process.stop() == 0
    assert [span.name for _, span in collector.spans()][2:] == ["attempt local", "tokenize", "queue", "compute"]
    assert value(samples, "rerank_gateway_local_batches_total", **served) >= 1
    assert value(samples, "rerank_gateway_local_batch_texts_total", **served) >= 2
    assert value(samples, "rerank_gateway_local_batch_tokens_total", **served) > 0
    assert ("rerank_gateway_local_queue_tokens", tuple(sorted(served.items()))) in samples
    assert value(samples, "rerank_gateway_tokens_total", **served) > 0
    assert value(samples, "rerank_gateway_overhead_seconds_count") == 1
    (model,) = status["local"]
    assert (model["provider"], model["model"], model["ready"], model["queued_tokens"]) == ("local", "m", True, 0)
