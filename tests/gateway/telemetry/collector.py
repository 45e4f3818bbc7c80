"""A real OTLP receiver on loopback, which decodes the protobuf that it gets."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """Takes OTLP over HTTP as protobuf.

    Args:
        host: the address to listen at.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        self._arrival = threading.Condition()
        collector = self

        class Receive(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                sent = {name.lower(): value for name, value in self.headers.items()}
                with collector._arrival:
                    collector.received.append((self.path, sent, body))
                    collector._arrival.notify_all()
                self.send_response(collector.status)
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                """Silence."""

        self._server = ThreadingHTTPServer((host, 0), Receive)
        self.url = f"http://{host}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait_for_spans(self, count: int) -> list[Any]:
        """The spans, once there are so many. Blocks."""
        with self._arrival:
            assert self._arrival.wait_for(lambda: len(self.spans()) >= count, timeout=30)
        return [span for _, span in self.spans()]

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
        groups = self._metric_groups()
        return {metric.name: metric for group in groups for scope in group.scope_metrics for metric in scope.metrics}

    def metric_resources(self) -> list[Any]:
        return [group.resource for group in self._metric_groups()]

    def _metric_groups(self) -> list[Any]:
        bodies = [ExportMetricsServiceRequest.FromString(body) for path, _, body in self.received if "metrics" in path]
        return [group for body in bodies for group in body.resource_metrics]
