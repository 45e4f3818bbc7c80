"""Sets up OpenTelemetry's SDK: exporters and resource, from the settings and the standard environment variables.

An exporter is imported only when it is configured: gRPC's costs 13 MB of memory and 80 ms.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from gateway.telemetry import names
from gateway.telemetry.attributes import ProviderAddress, SpanAttributes
from gateway.telemetry.content import ContentLimits, DocumentAttributes
from gateway.telemetry.langfuse import LangfuseAttributes
from gateway.telemetry.metric_store import MetricStore
from gateway.telemetry.settings import ResolvedSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

    from gateway.telemetry.otlp_metrics import PeriodicExporter
    from gateway.telemetry.traces import Traces


def open_traces(resolved: ResolvedSettings, peers: Mapping[str, ProviderAddress]) -> Traces | None:
    """What makes and exports spans, which starts a thread; None if no exporter is configured."""
    if resolved.traces == "none":
        return None
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

    from gateway.telemetry.traces import Traces

    exporter = ConsoleSpanExporter() if resolved.traces == "console" else _exporter(resolved, "traces")
    ratio = resolved.settings.traces.sample_ratio
    return Traces(BatchSpanProcessor(exporter), resource(resolved), span_attributes(resolved, peers), ratio)


def open_metric_exporter(resolved: ResolvedSettings, store: MetricStore) -> PeriodicExporter | None:
    """What exports metrics, which starts a thread; None if no exporter is configured."""
    if resolved.metrics == "none":
        return None
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

    from gateway.telemetry.otlp_metrics import PeriodicExporter

    exporter = ConsoleMetricExporter() if resolved.metrics == "console" else _exporter(resolved, "metrics")
    return PeriodicExporter(exporter, resource(resolved), store, resolved.interval)


def span_attributes(resolved: ResolvedSettings, peers: Mapping[str, ProviderAddress]) -> SpanAttributes:
    """What makes the attributes of spans: in the configured conventions, with as much content as is allowed."""
    settings = resolved.settings.content
    content = ContentLimits(
        inputs=resolved.content_in_spans and not resolved.hide_inputs,
        outputs=resolved.content_in_spans and not resolved.hide_outputs,
        input_rows=not resolved.hide_inputs,
        output_rows=not resolved.hide_outputs,
        documents=settings.documents,
        characters=settings.characters,
    )
    has_langfuse = resolved.settings.traces.backend == names.LANGFUSE
    return SpanAttributes(
        names.CONVENTION_SETS[resolved.conventions],
        peers,
        DocumentAttributes(content, names.CONVENTION_SETS[resolved.conventions]),
        LangfuseAttributes(content) if has_langfuse else None,
    )


def resource(resolved: ResolvedSettings) -> Resource:
    """The OpenTelemetry resource of this process: from the standard variables, and over these from the file."""
    from opentelemetry.sdk.resources import Resource

    settings = resolved.settings
    service_name = settings.service_name or os.environ.get("OTEL_SERVICE_NAME")
    own: dict[str, Any] = {"service.version": version("rerank-gateway"), "service.instance.id": str(uuid4())}
    by_variables = Resource(own).merge(Resource.create({}))
    # Without a name from anywhere the SDK would say "unknown_service".
    if service_name is None and "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        service_name = "rerank-gateway"
    by_file = {**settings.resource, **({"service.name": service_name} if service_name else {})}
    return by_variables.merge(Resource(by_file))


def _exporter(resolved: ResolvedSettings, signal: str) -> Any:
    otlp = resolved.settings.otlp
    grpc = (resolved.traces_protocol if signal == "traces" else resolved.metrics_protocol) == "grpc"
    arguments: dict[str, Any] = {}
    if otlp.endpoint:
        # Given as an argument, the SDK takes the URL as it is, so the signal's path over HTTP must be added here.
        base = otlp.endpoint.rstrip("/")
        arguments["endpoint"] = base if grpc else f"{base}/v1/{signal}"
    if otlp.headers:
        # gRPC refuses metadata keys that are not in lower case.
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
