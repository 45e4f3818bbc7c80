"""Sets up OpenTelemetry's SDK: exporters and resource, from the settings and the standard variables.

Only what an exporter needs is imported, and only here, when one is configured: gRPC costs 13 MB and 80 ms.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from gateway.telemetry import names
from gateway.telemetry.attributes import Content, Peer, SpanAttributes
from gateway.telemetry.metric_store import MetricStore
from gateway.telemetry.settings import Resolved

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

    from gateway.telemetry.push import Push
    from gateway.telemetry.traces import Traces


def open_traces(choices: Resolved, peers: Mapping[str, Peer]) -> Traces | None:
    """What makes spans; None if they go nowhere. Starts a thread."""
    if choices.traces == "none":
        return None
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

    from gateway.telemetry.traces import Traces

    exporter = ConsoleSpanExporter() if choices.traces == "console" else _exporter(choices, "traces")
    ratio = choices.settings.traces.sample_ratio
    return Traces(BatchSpanProcessor(exporter), resource(choices), wording(choices, peers), ratio)


def open_push(choices: Resolved, store: MetricStore) -> Push | None:
    """What sends metrics; None if they are only fetched. Starts a thread."""
    if choices.metrics == "none":
        return None
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

    from gateway.telemetry.push import Push

    exporter = ConsoleMetricExporter() if choices.metrics == "console" else _exporter(choices, "metrics")
    return Push(exporter, resource(choices), store, choices.interval)


def wording(choices: Resolved, peers: Mapping[str, Peer]) -> SpanAttributes:
    """How spans are worded, and what they may hold."""
    settings = choices.settings.content
    content = Content(
        inputs=choices.content_in_spans and not choices.hide_inputs,
        outputs=choices.content_in_spans and not choices.hide_outputs,
        documents=settings.documents,
        characters=settings.characters,
    )
    return SpanAttributes(names.CONVENTIONS[choices.conventions], peers, content)


def resource(choices: Resolved) -> Resource:
    """What every span and metric says of this process: the variables', then the file's."""
    from opentelemetry.sdk.resources import Resource

    settings = choices.settings
    named = settings.service_name or os.environ.get("OTEL_SERVICE_NAME")
    own: dict[str, Any] = {"service.version": version("rerank-gateway"), "service.instance.id": str(uuid4())}
    found = Resource(own).merge(Resource.create({}))
    if named is None and "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        named = "rerank-gateway"
    return found.merge(Resource({**settings.resource, **({"service.name": named} if named else {})}))


def _exporter(choices: Resolved, signal: str) -> Any:
    otlp = choices.settings.otlp
    grpc = (choices.traces_protocol if signal == "traces" else choices.metrics_protocol) == "grpc"
    arguments: dict[str, Any] = {}
    if otlp.endpoint:
        base = otlp.endpoint.rstrip("/")
        arguments["endpoint"] = base if grpc else f"{base}/v1/{signal}"
    if otlp.headers:
        arguments["headers"] = {name.lower(): value.get_secret_value() for name, value in otlp.headers.items()}
    if grpc and otlp.endpoint:
        arguments["insecure"] = otlp.endpoint.startswith("http://")
    return _exporter_class(signal, grpc)(**arguments)


def _exporter_class(signal: str, grpc: bool) -> Any:
    if grpc and signal == "traces":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans

        return GrpcSpans
    if grpc:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics

        return GrpcMetrics
    if signal == "traces":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans

        return HttpSpans
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics

    return HttpMetrics
