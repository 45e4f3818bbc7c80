"""What /metrics says after real requests, and that it is right for several workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.exchange import Exchange
from gateway.telemetry.metric_store import MetricStore, find_shared_folder, shared_folder
from gateway.telemetry.metrics import (
    ATTEMPT_DURATION,
    DEGRADED_ANSWERS,
    FALLBACKS,
    HEDGES,
    IN_FLIGHT,
    INFO,
    MAX_LEARNED_NAMES,
    METRICS,
    OVERHEAD,
    RELOADS,
    REQUESTS,
    RETRIES,
    STORE_FAILURES,
    TRUNCATED_DOCUMENTS,
    LabelAllowlist,
    Metrics,
)
from gateway.telemetry.recorder import RequestRecorder
from gateway.telemetry.status import percentiles
from providers.attempts import AttemptRecord
from providers.types import Call, Ranked, Ranking, RerankRequest, Usage
from tests.gateway.server.callers import wait_until
from tests.gateway.telemetry.conftest import BODY

VERSION = (version("rerank-gateway"),)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Samples:
    families = text_string_to_metric_families(text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


async def read(client: httpx.AsyncClient) -> Samples:
    return parsed((await client.get("/metrics")).text)


def value(samples: Samples, name: str, **labels: str) -> float:
    """The sum of all series with these labels."""
    wanted = set(labels.items())
    return sum(value for (found, having), value in samples.items() if found == name and wanted <= set(having))


async def test_success(opened, settings, upstream) -> None:
    upstream.reply_with(
        200,
        {
            "results": [{"index": 0, "relevance_score": 0.9}],
            "meta": {"billed_units": {"search_units": 2}, "tokens": {"input_tokens": 7}},
        },
    )
    client = await opened(settings())
    answer = await client.post("/v1/rerank", json=BODY)
    samples = await read(client)
    served = {"provider": "cohere", "model": "m"}
    asked = {"model": "cohere/m", "outcome": "ok"}
    assert value(samples, "rerank_gateway_requests_total", **asked, provider="cohere", dialect="unified") == 1
    assert value(samples, "rerank_gateway_request_duration_seconds_count", **asked) == 1
    assert value(samples, "rerank_gateway_overhead_seconds_count") == 1
    assert value(samples, "rerank_gateway_attempts_total", **served, outcome="ok") == 1
    assert value(samples, "rerank_gateway_attempt_duration_seconds_count", **served) == 1
    assert value(samples, "rerank_gateway_search_units_total", **served) == 2
    assert value(samples, "rerank_gateway_tokens_total", **served) == 7
    assert value(samples, "rerank_gateway_request_documents_sum") == 2
    assert value(samples, "rerank_gateway_request_size_bytes_sum") == len(answer.request.content)
    assert value(samples, "rerank_gateway_response_size_bytes_sum") == len(answer.content)
    assert value(samples, "rerank_gateway_in_flight") == 0
    assert value(samples, "rerank_gateway_info") == 1


async def test_overhead_leaves_out_the_upstream(opened, settings, upstream) -> None:
    import threading

    client = await opened(settings())
    await client.post("/v1/rerank", json=BODY)  # opens the connection
    before = await read(client)
    upstream.hold()
    threading.Timer(0.3, upstream.release).start()
    await client.post("/v1/rerank", json=BODY)
    after = await read(client)

    def spent(name: str) -> float:
        return value(after, name) - value(before, name)

    assert spent("rerank_gateway_request_duration_seconds_sum") >= 0.3
    assert spent("rerank_gateway_overhead_seconds_sum") <= spent("rerank_gateway_request_duration_seconds_sum") - 0.3


async def test_fallback_and_failure(opened, settings, upstream) -> None:
    upstream.reply_with(503, {})
    client = await opened(settings(models={"best": {"target": "cohere/a", "fallbacks": ["jina/b"]}}))
    await client.post("/v1/rerank", json={**BODY, "model": "best"})
    failed = iter([(503, {}, {})])
    usual = {"results": [{"index": 0, "relevance_score": 0.9}]}
    upstream.behaviour = lambda asked: next(failed, None) or (200, usual, {})
    await client.post("/v1/rerank", json={**BODY, "model": "best"})
    samples = await read(client)
    assert value(samples, "rerank_gateway_requests_total", model="best", outcome="error") == 1
    assert value(samples, "rerank_gateway_requests_total", error_type="upstream_error", provider="cohere") == 1
    assert value(samples, "rerank_gateway_requests_total", model="best", outcome="ok", provider="jina") == 1
    assert value(samples, "rerank_gateway_fallbacks_served_total", model="best", provider="jina") == 1
    assert value(samples, "rerank_gateway_attempts_total", provider="cohere", model="a", outcome="error") == 2


async def test_names_that_nobody_configured_are_no_labels(opened, settings, upstream) -> None:
    upstream.reply_with(404, {"message": "no such model"})
    client = await opened(settings())
    for name in ("cohere/invented", "nobody/invented", "invented"):
        await client.post("/v1/rerank", json={**BODY, "model": name})
    await client.post("/v1/rerank", content=b"invented")
    text = (await client.get("/metrics")).text
    assert "invented" not in text
    assert "nobody" not in text
    assert value(parsed(text), "rerank_gateway_requests_total", model="_other") == 3


def test_names_that_were_served_are_labels_up_to_a_bound() -> None:
    known = LabelAllowlist({"configured"})
    assert known.label("new") == "_other"
    assert [known.learn(f"m{i}") for i in range(MAX_LEARNED_NAMES)] == [f"m{i}" for i in range(MAX_LEARNED_NAMES)]
    assert known.learn("one more") == "_other"
    assert known.label("m5") == "m5"
    assert known.learn("configured") == "configured"


def exchange(*attempts: AttemptRecord, ranking: bool = True, details: dict[str, Any] | None = None) -> Exchange:
    call = Call(id="x", recorder=RequestRecorder())
    for record in attempts:
        call.recorder.add_attempt(record)
    found = Exchange("unified", call, 0.0, "/v1/rerank")
    found.request = RerankRequest(model="alias", query="q", documents=["d"], call=call)
    winner = next((t for t in attempts if not t.error_type), None)
    if ranking and winner:
        found.ranking = Ranking(
            results=[Ranked(0, 1.0)], provider=winner.provider, model="m", alias="alias", usage=Usage(), details=details
        )
    found.status, found.end = (200 if found.ranking else 502), 9.0
    return found


def attempt(provider: str, start: float, end: float, error: str = "") -> AttemptRecord:
    return AttemptRecord(provider=provider, model="m", start=start, end=end, error_type=error, error=error or None)


@pytest.mark.parametrize(
    ("told", "metric", "labels", "expected"),
    [
        pytest.param(
            exchange(attempt("a", 1, 2, "upstream_error"), attempt("a", 3, 4)),
            RETRIES, ("a",), 1, id="retry",
        ),
        pytest.param(
            exchange(attempt("a", 1, 2, "upstream_error"), attempt("a", 3, 4)),
            FALLBACKS, ("alias", "a"), None, id="a retry is no fallback",
        ),
        pytest.param(
            exchange(attempt("a", 1, 3, "cancelled"), attempt("b", 2, 3)),
            HEDGES, ("b", "won"), 1, id="hedge won",
        ),
        pytest.param(
            exchange(attempt("b", 2, 3, "cancelled"), attempt("a", 1, 3)),
            HEDGES, ("b", "lost"), 1, id="hedge lost",
        ),
        pytest.param(
            exchange(attempt("b", 2, 3, "cancelled"), attempt("a", 1, 3)),
            ATTEMPT_DURATION, ("b", "_other"), None, id="a cancelled attempt has no duration",
        ),
        pytest.param(
            exchange(attempt("p", 1, 2), details={"degraded": True}),
            DEGRADED_ANSWERS, ("alias",), 1, id="degraded",
        ),
        pytest.param(
            exchange(attempt("local", 1, 2), details={"truncated_documents": 3}),
            TRUNCATED_DOCUMENTS, ("local", "m"), 3, id="truncated",
        ),
    ],
)  # fmt: skip
def test_what_a_finished_request_adds(told, metric, labels, expected) -> None:
    store = MetricStore(METRICS)
    Metrics(store, LabelAllowlist({"alias"})).request_ended(told)
    found = store.read().get((metric.name, labels))
    assert found == (None if expected is None else [expected])


@pytest.mark.parametrize(
    ("count", "metric", "labels", "expected"),
    [
        pytest.param(lambda metrics: metrics.count_store_failure(), STORE_FAILURES, (), 2, id="store failure"),
        pytest.param(lambda metrics: metrics.count_reload("ok"), RELOADS, ("ok",), 2, id="reload"),
        pytest.param(lambda metrics: metrics.request_started(), IN_FLIGHT, (), 2, id="request started"),
        pytest.param(lambda metrics: metrics.set_worker_info(running=True), INFO, VERSION, 1, id="worker"),
        pytest.param(lambda metrics: metrics.set_worker_info(running=False), INFO, VERSION, 0, id="no worker"),
    ],
)
def test_what_is_counted_outside_of_a_request(count, metric, labels, expected) -> None:
    store = MetricStore(METRICS)
    metrics = Metrics(store, LabelAllowlist())
    for _ in range(2):
        count(metrics)
    assert store.read() == {(metric.name, labels): [expected]}


def test_the_shared_folder_is_forgotten_even_on_an_error() -> None:
    folder = Path()

    def start_workers() -> None:
        nonlocal folder
        with shared_folder():
            folder = find_shared_folder(os.environ) or folder
            assert folder.is_dir()
            raise ValueError("a worker cannot be started")

    with pytest.raises(ValueError, match="a worker"):
        start_workers()
    assert find_shared_folder(os.environ) is None
    assert not folder.exists()


def test_both_text_formats_parse(settings) -> None:
    from gateway.telemetry.prometheus import exposition

    store = MetricStore(METRICS)
    store.add(REQUESTS, ("unified", 'model "with\nodd\\ characters', "p", "ok", ""))
    store.observe(OVERHEAD, 0.0004)
    store.observe(OVERHEAD, 2.0)
    plain, plain_type = exposition(store, "")
    newer, newer_type = exposition(store, "application/openmetrics-text; version=1.0.0")
    assert plain_type.startswith("text/plain")
    assert newer_type.startswith("application/openmetrics-text")
    families = {family.name: family for family in open_metrics(newer.decode())}
    assert set(families) == {metric.prometheus for metric in METRICS.values()}
    samples = parsed(plain.decode())
    assert value(samples, "rerank_gateway_requests_total", model='model "with\nodd\\ characters') == 1
    assert value(samples, "rerank_gateway_overhead_seconds_bucket", le="0.00025") == 0
    assert value(samples, "rerank_gateway_overhead_seconds_bucket", le="0.0005") == 1
    assert value(samples, "rerank_gateway_overhead_seconds_bucket", le="+Inf") == 2


async def test_metrics_can_be_switched_off(opened, settings) -> None:
    client = await opened(settings(telemetry={"metrics": {"prometheus": False}}))
    assert (await client.get("/metrics")).status_code == 404


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([], (None, None, None), id="nothing measured"),
        pytest.param([0.0003] * 100, (0.375, 0.488, 0.498), id="all in one bucket"),
        pytest.param([0.0001] * 98 + [5.0] * 2, (0.076, 0.098, 1000.0), id="above the last bound"),
    ],
)
def test_percentiles(values, expected) -> None:
    store = MetricStore(METRICS)
    for seconds in values:
        store.observe(OVERHEAD, seconds)
    found = percentiles(OVERHEAD, store.read().get((OVERHEAD.name, ()), [0.0] * (len(OVERHEAD.buckets) + 2)))
    assert (found.p50, found.p95, found.p99) == pytest.approx(expected, abs=0.002)


def _count(folder: Path, times: int, told: Any, go_on: Any) -> None:
    store = MetricStore(METRICS, folder)
    for _ in range(times):
        store.add(RETRIES, ("p",))
        store.observe(OVERHEAD, 0.01)
    store.add(IN_FLIGHT)
    told.set()
    go_on.wait(60)


def _started(context: Any, folder: Path, times: int) -> tuple[Any, Any]:
    told, go_on = context.Event(), context.Event()
    process = context.Process(target=_count, args=(folder, times, told, go_on))
    process.start()
    assert told.wait(60)
    return process, go_on


def test_processes_add_up_and_counters_survive_them(tmp_path) -> None:
    context = multiprocessing.get_context("spawn")
    mine = MetricStore(METRICS, tmp_path)
    mine.add(RETRIES, ("p",))
    mine.add(IN_FLIGHT)
    first, _ = _started(context, tmp_path, 1000)
    second, end = _started(context, tmp_path, 500)

    def reading() -> tuple[float, float, float]:
        found = mine.read()
        overhead = found[OVERHEAD.name, ()]
        return found[RETRIES.name, ("p",)][0], sum(overhead[:-1]), found[IN_FLIGHT.name, ()][0]

    assert reading() == (1501, 1500, 3)
    os.kill(first.pid or 0, signal.SIGKILL)
    first.join()
    assert reading() == (1501, 1500, 2)  # counters stay, the gauge of the dead goes
    third, end_third = _started(context, tmp_path, 10)
    assert reading() == (1511, 1510, 3)
    assert len(list(tmp_path.glob("*.cells"))) == 3  # the third goes on in the file of the first
    for process, event in ((second, end), (third, end_third)):
        event.set()
        process.join()
    mine.close()


def test_what_does_not_fit_costs_nothing_but_itself() -> None:
    store = MetricStore(METRICS)
    for index in range(200_000 // 18):
        store.observe(ATTEMPT_DURATION, 0.1, ("p", str(index)))
    store.add(RETRIES, ("p",))
    assert store.read()[ATTEMPT_DURATION.name, ("p", "0")][-1] == 0.1


@pytest.mark.parametrize("workers", ["2"])
def test_every_worker_tells_the_same(start_gateway, upstream, workers) -> None:
    vendor = {"base_url": upstream.url, "api_key": "k"}
    process = start_gateway({"providers": {"cohere": vendor}}, "--workers", workers)
    process.wait_until_ready()
    count = 40
    for _ in range(count):
        with httpx.Client() as client:  # a connection of its own each time, so that all workers get some
            assert client.post(f"{process.url}/v1/rerank", json=BODY).status_code == 200
    # A worker counts a request when it has answered it.
    wait_until(lambda: value(parsed(httpx.get(f"{process.url}/metrics").text), "rerank_gateway_in_flight") == 0)
    for _ in range(6):
        samples = parsed(httpx.get(f"{process.url}/metrics").text)
        assert value(samples, "rerank_gateway_requests_total", outcome="ok") == count
        assert value(samples, "rerank_gateway_info") == 2
        assert value(samples, "rerank_gateway_in_flight") == 0
    status = httpx.get(f"{process.url}/v1/status").json()
    assert status["requests"] == {"ok": count, "error": 0, "cancelled": 0}
    assert process.stop() == 0
