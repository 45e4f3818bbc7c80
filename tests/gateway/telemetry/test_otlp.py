"""A real OTLP receiver on loopback gets spans and metrics; one that is down costs nothing."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from gateway.telemetry import metrics
from tests.gateway.telemetry.conftest import BODY


class Collector:
    """Takes OTLP over HTTP as protobuf."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        collector = self

        class Receive(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                sent = {name.lower(): value for name, value in self.headers.items()}
                collector.received.append((self.path, sent, body))
                self.send_response(collector.status)
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                """Silence."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Receive)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def spans(self) -> list[Any]:
        bodies = [ExportTraceServiceRequest.FromString(body) for path, _, body in self.received if "traces" in path]
        return [
            (group.resource, span)
            for body in bodies
            for group in body.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]

    def metrics(self) -> dict[str, Any]:
        bodies = [ExportMetricsServiceRequest.FromString(body) for path, _, body in self.received if "metrics" in path]
        return {
            metric.name: metric
            for body in bodies
            for group in body.resource_metrics
            for scope in group.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.close()


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
