"""A real OTLP receiver on loopback gets spans and metrics; one that is down costs nothing."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from gateway.telemetry import metrics
from tests.gateway.telemetry.collector import Collector
from tests.gateway.telemetry.conftest import BODY


def attributes(found: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in found.attributes}


def one_request(process: Any) -> None:
    process.wait_until_ready()
    assert httpx.post(f"{process.url}/v1/rerank", json=BODY).status_code == 200


def check(collector: Collector, name: str) -> None:
    assert [span.name for _, span in collector.spans()] == ["POST /v1/rerank", "rerank cohere/m", "attempt cohere"]
    resource = attributes(collector.spans()[0][0])
    assert resource["service.name"] == name
    assert resource["deployment.environment.name"] == "test"
    assert resource["service.instance.id"]
    found = collector.metrics()
    assert found[metrics.REQUESTS.name].sum.data_points[0].as_double == 1
    assert found[metrics.REQUESTS.name].sum.is_monotonic
    (overhead,) = found[metrics.OVERHEAD.name].histogram.data_points
    assert overhead.count == sum(overhead.bucket_counts) == 1
    assert tuple(overhead.explicit_bounds) == metrics.OVERHEAD.buckets
    assert overhead.sum > 0


def test_by_the_standard_variables(start_gateway, upstream, collector) -> None:
    process = start_gateway(
        {"providers": {"cohere": {"base_url": upstream.url, "api_key": "k"}}},
        environ={
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-team=search",
            "OTEL_SERVICE_NAME": "by-variable",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        },
    )
    one_request(process)
    assert process.stop() == 0  # what is left is sent at the end
    check(collector, "by-variable")
    assert {sent["x-team"] for _, sent, _ in collector.received} == {"search"}


def test_by_the_file(start_gateway, upstream, collector) -> None:
    telemetry = {
        "service_name": "by-file",
        "resource": {"deployment.environment.name": "test"},
        "otlp": {"endpoint": collector.url, "headers": {"authorization": "secret-of-the-collector"}},
        "traces": {"exporter": "otlp"},
        "metrics": {"exporter": "otlp"},
    }
    vendor = {"base_url": upstream.url, "api_key": "k"}
    process = start_gateway({"providers": {"cohere": vendor}, "telemetry": telemetry})
    one_request(process)
    assert process.stop() == 0
    check(collector, "by-file")
    assert {sent["authorization"] for _, sent, _ in collector.received} == {"secret-of-the-collector"}
    assert "secret-of-the-collector" not in process.output


SMALL_QUEUE = {"MAX_QUEUE_SIZE": "16", "MAX_EXPORT_BATCH_SIZE": "8", "SCHEDULE_DELAY": "5"}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_collector_that_is_down_costs_nothing(start_gateway, upstream, protocol) -> None:
    telemetry = {
        "otlp": {"endpoint": "http://127.0.0.1:9", "protocol": protocol},
        "metrics": {"exporter": "otlp", "interval": 0.05},
    }
    vendor = {"base_url": upstream.url, "api_key": "k"}
    process = start_gateway(
        {"providers": {"cohere": vendor}, "telemetry": telemetry},
        environ={f"OTEL_BSP_{name}": value for name, value in SMALL_QUEUE.items()},
    )
    process.wait_until_ready()
    with httpx.Client() as client:
        for _ in range(50):
            answer = client.post(f"{process.url}/v1/rerank", json=BODY)
            assert answer.status_code == 200
    assert process.stop() == 0
    lines = [json.loads(line) for line in process.output.splitlines() if line.startswith("{")]
    assert len([line for line in lines if line["event"] == "request"]) == 50


def test_the_console(start_gateway, upstream) -> None:
    vendor = {"base_url": upstream.url, "api_key": "k"}
    process = start_gateway({"providers": {"cohere": vendor}, "telemetry": {"traces": {"exporter": "console"}}})
    one_request(process)
    assert process.stop() == 0
    assert '"name": "rerank cohere/m"' in process.output


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "soon"),
    ],
)
def test_a_variable_that_means_nothing_is_a_problem(start_gateway, upstream, name, text) -> None:
    vendor = {"base_url": upstream.url, "api_key": "k"}
    process = start_gateway({"providers": {"cohere": vendor}}, environ={name: text})
    assert process.wait() == 1
    problems = json.loads(process.output.splitlines()[-1])["problems"]
    assert [problem for problem in problems if problem.startswith(f'{name} is "{text}"')] == problems
    assert "Traceback" not in process.output
