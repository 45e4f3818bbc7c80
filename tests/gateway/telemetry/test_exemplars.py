"""Exemplars: which trace a value of a latency histogram belongs to, for whoever asks in OpenMetrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics

from gateway.telemetry import exemplars
from gateway.telemetry.exemplars import ExemplarStore
from gateway.telemetry.metrics import ATTEMPT_DURATION, DURATION, METRICS, OVERHEAD
from tests.gateway.telemetry.conftest import BODY

OPEN = {"accept": "application/openmetrics-text; version=1.0.0"}
LATENCIES = {
    *("rerank_gateway_request_duration_seconds", "rerank_gateway_overhead_seconds"),
    *("rerank_gateway_attempt_duration_seconds", "gen_ai_client_operation_duration_seconds"),
}


async def found(client: Any) -> dict[str, list[Any]]:
    """The samples that have an exemplar, by the name of their metric."""
    text = (await client.get("/metrics", headers=OPEN)).text
    samples = {family.name: [sample for sample in family.samples if sample.exemplar] for family in open_metrics(text)}
    return {name: having for name, having in samples.items() if having}


async def test_every_latency_has_its_span(opened, settings, spans) -> None:
    client = await opened(settings(telemetry={"metrics": {"gen_ai": True}}))
    await client.post("/v1/rerank", json=BODY)
    samples = await found(client)
    assert set(samples) == LATENCIES
    by_name = {span.name: span for span in spans.all()}
    for name, having in samples.items():
        span = by_name["attempt cohere" if "attempt" in name or "gen_ai" in name else "POST /v1/rerank"]
        (sample,) = having
        assert sample.exemplar.labels == {
            "trace_id": format(span.context.trace_id, "032x"),
            "span_id": format(span.context.span_id, "016x"),
        }
        assert 0 < sample.exemplar.value <= float(sample.labels["le"])
        assert float(sample.exemplar.timestamp) > 1e9


async def test_each_bucket_keeps_the_last(opened, settings, spans, upstream) -> None:
    client = await opened(settings())
    for _ in range(3):
        await client.post("/v1/rerank", json=BODY)
    upstream.reply_with(500, {})
    await client.post("/v1/rerank", json=BODY)
    having = (await found(client))["rerank_gateway_request_duration_seconds"]
    assert {sample.labels["outcome"] for sample in having} == {"ok", "error"}
    known = {format(span.context.trace_id, "032x") for span in spans.all()}
    assert {sample.exemplar.labels["trace_id"] for sample in having} <= known


@pytest.mark.parametrize(
    ("ratio", "accept"),
    [
        pytest.param(0.0, OPEN["accept"], id="not recorded"),
        pytest.param(1.0, "text/plain; version=0.0.4", id="text"),
        pytest.param(1.0, "", id="no preference"),
    ],
)
async def test_no_exemplar(opened, settings, spans, ratio, accept) -> None:
    client = await opened(settings(telemetry={"traces": {"sample_ratio": ratio}}))
    await client.post("/v1/rerank", json=BODY)
    assert "trace_id" not in (await client.get("/metrics", headers={"accept": accept})).text


async def test_no_exemplar_while_traces_are_off(opened, settings) -> None:
    client = await opened(settings())
    await client.post("/v1/rerank", json=BODY, headers={"traceparent": f"00-{7:032x}-{7:016x}-01"})
    assert "trace_id" not in (await client.get("/metrics", headers=OPEN)).text


def keep(store: ExemplarStore, trace: int, seconds: float = 0.002) -> None:
    store.keep(DURATION, ("m", "ok"), seconds, trace, 1)


def traces(store: ExemplarStore) -> set[int]:
    return {int(each.trace_id, 16) for buckets in store.read().values() for each in buckets.values()}


def test_the_newest_of_all_workers_is_shown(tmp_path: Path) -> None:
    first, second = ExemplarStore(tmp_path / "0.cells"), ExemplarStore(tmp_path / "1.cells")
    keep(first, 1)
    keep(second, 2)
    assert (traces(first), traces(second)) == ({1}, {2})  # nothing is published yet
    first.publish()
    second.publish()
    assert traces(first) == traces(second) == {2}
    keep(first, 3, seconds=0.2)
    first.publish()
    assert traces(second) == {2, 3}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.exemplars", "1.exemplars"]


@pytest.mark.parametrize("content", [b"", b"[[1]]", b'[["x', b"{}"], ids=["empty", "another form", "cut", "object"])
def test_a_file_that_cannot_be_read_is_left_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "9.exemplars").write_bytes(content)
    store = ExemplarStore(tmp_path / "0.cells")
    keep(store, 1)
    assert traces(store) == {1}


def test_a_disk_that_cannot_be_written_to_costs_nothing_else(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path / "gone" / "0.cells")
    keep(store, 1)
    store.publish()
    assert traces(store) == {1}


def test_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exemplars, "MAX_EXEMPLARS", 2)
    store = ExemplarStore(None)
    for trace, seconds in ((1, 0.002), (2, 0.02), (3, 0.002), (4, 0.2)):
        keep(store, trace, seconds)
    assert traces(store) == {3, 4}


@pytest.mark.parametrize("metric", [DURATION, OVERHEAD, ATTEMPT_DURATION], ids=lambda metric: metric.name)
def test_a_value_is_kept_in_the_bucket_that_counts_it(metric) -> None:
    from gateway.telemetry.metric_store import MetricStore

    labels = tuple("x" for _ in metric.labels)
    for value in (0.0, metric.buckets[0], metric.buckets[3] * 1.01, metric.buckets[-1] * 2):
        counted, kept = MetricStore(METRICS), ExemplarStore(None)
        counted.observe(metric, value, labels)
        kept.keep(metric, labels, value, 1, 1)
        ((bucket, _),) = kept.read()[metric.name, labels].items()
        assert counted.read()[metric.name, labels][bucket] == 1
