"""The `telemetry` section of the configuration, and what OpenTelemetry's environment variables make of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Struct
from pydantic import BeforeValidator, Field, SecretStr

from gateway.settings import Seconds, Settings
from gateway.telemetry.names import BACKENDS, OPT_IN

Exporter = Literal["otlp", "console", "none"]
Protocol = Literal["http/protobuf", "grpc"]


class OtlpSettings(Settings):
    """Where to send OTLP. What is absent comes from the OTEL_EXPORTER_OTLP_* variables."""

    endpoint: str | None = Field(
        default=None, pattern=r"^https?://", description="Base URL of the collector, for example http://localhost:4318."
    )
    protocol: Protocol | None = Field(default=None, description="`http/protobuf` or `grpc`.")
    headers: dict[str, SecretStr] = Field(default={}, description="Headers to send to the collector.")


class TraceSettings(Settings):
    """Which spans are recorded, and how their attributes are named."""

    exporter: Exporter | None = Field(
        default=None,
        description="`otlp`, `console` or `none`. Default: OTEL_TRACES_EXPORTER, else `otlp` if an endpoint is set.",
    )
    sample_ratio: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of traces to record, if the caller has not decided. Default: OTEL_TRACES_SAMPLER, else all.",
    )
    backend: Literal["plain", "phoenix", "langfuse", "datadog"] | None = Field(
        default=None,
        description="What shows the traces: it gets the names that it renders, and `langfuse` attributes of its own.",
    )
    conventions: Literal["gen_ai", "gen_ai_v1_36", "openinference", "both"] | None = Field(
        default=None,
        description="Attribute names; `both` is `gen_ai` and `openinference`. Default: those of `backend`, else"
        " OTEL_SEMCONV_STABILITY_OPT_IN, else `gen_ai`.",
    )


class MetricSettings(Settings):
    """Where metrics are published."""

    prometheus: bool = Field(default=True, description="Serve /metrics.")
    exporter: Exporter | None = Field(
        default=None,
        description="`otlp`, `console` or `none`. Default: OTEL_METRICS_EXPORTER, else `otlp` if an endpoint is set.",
    )
    interval: Seconds | None = Field(
        default=None, gt=0, description="Seconds between exports. Default: OTEL_METRIC_EXPORT_INTERVAL, else 60."
    )
    gen_ai: bool = Field(default=False, description="Count the client metrics of the GenAI conventions too.")


def _in_small_letters(value: Any) -> Any:
    """`INFO` as `info`, and `WARN` as `warning`, as other programs write levels."""
    if not isinstance(value, str):
        return value
    return {"warn": "warning"}.get(value.lower(), value.lower())


class LogSettings(Settings):
    """What is logged to standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_in_small_letters)] = Field(
        default="info", description="Lowest level that is logged."
    )
    format: Literal["auto", "json", "text"] = Field(
        default="auto", description="`auto` means text on a terminal, else JSON lines."
    )
    requests: bool = Field(default=True, description="Log one line per request, at level info.")
    exception_messages: bool = Field(
        default=False, description="Log the messages of unexpected exceptions, which may quote a request."
    )


class ContentSettings(Settings):
    """Whether queries and documents are recorded. By default they are not."""

    in_spans: bool | None = Field(
        default=None,
        description="Record them on spans. Default: OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT, else false.",
    )
    in_logs: bool = Field(default=False, description="Record them in the request log.")
    documents: int = Field(
        default=10, ge=0, le=100, description="Documents to record per request; the others are only counted."
    )
    characters: int = Field(default=1000, ge=1, description="Characters to record of each text.")


class TelemetrySettings(Settings):
    """Traces, metrics and logs."""

    service_name: str | None = Field(
        default=None,
        min_length=1,
        description="The service in traces and metrics. Default: OTEL_SERVICE_NAME, else rerank-gateway.",
    )
    resource: dict[str, str] = Field(
        default={}, description="Resource attributes, in addition to OTEL_RESOURCE_ATTRIBUTES."
    )
    otlp: OtlpSettings = OtlpSettings()
    traces: TraceSettings = TraceSettings()
    metrics: MetricSettings = MetricSettings()
    logs: LogSettings = LogSettings()
    content: ContentSettings = ContentSettings()


class ResolvedSettings(Struct, frozen=True, kw_only=True):
    """The settings with the environment applied: a value in the file wins, then the variable, then the default.

    Attributes:
        settings: as they are in the file.
        traces, metrics: the exporters: `otlp`, `console` or `none`.
        traces_protocol, metrics_protocol: of OTLP: `http/protobuf` or `grpc`.
        interval: seconds between two exports of the metrics.
        conventions: how attributes of spans are named: a key of `names.CONVENTION_SETS`.
        content_in_spans: whether queries and documents are recorded on spans.
        hide_inputs, hide_outputs: OpenInference's own switches, which win over `content_in_spans`.
    """

    settings: TelemetrySettings
    traces: str
    traces_protocol: str
    metrics: str
    metrics_protocol: str
    interval: float
    conventions: str
    content_in_spans: bool
    hide_inputs: bool
    hide_outputs: bool


def resolve(settings: TelemetrySettings, environ: Mapping[str, str]) -> ResolvedSettings:
    """Apply the environment variables. Raises ValueError, naming the variable, for a value that is not allowed."""
    disabled = _flag(environ, "OTEL_SDK_DISABLED")
    content = settings.content.in_spans
    return ResolvedSettings(
        settings=settings,
        traces="none" if disabled else _exporter(settings, environ, "TRACES", settings.traces.exporter),
        traces_protocol=_protocol(settings, environ, "TRACES"),
        metrics="none" if disabled else _exporter(settings, environ, "METRICS", settings.metrics.exporter),
        metrics_protocol=_protocol(settings, environ, "METRICS"),
        interval=settings.metrics.interval or _milliseconds(environ, "OTEL_METRIC_EXPORT_INTERVAL", 60_000) / 1000,
        conventions=_conventions(settings.traces, environ),
        content_in_spans=_flag(environ, "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT")
        if content is None
        else content,
        hide_inputs=_flag(environ, "OPENINFERENCE_HIDE_INPUTS"),
        hide_outputs=_flag(environ, "OPENINFERENCE_HIDE_OUTPUTS"),
    )


def _exporter(settings: TelemetrySettings, environ: Mapping[str, str], signal: str, chosen: str | None) -> str:
    if chosen is not None:
        return chosen
    by_variable = environ.get(f"OTEL_{signal}_EXPORTER", "").strip()
    if by_variable in ("otlp", "console", "none"):
        return by_variable
    if by_variable:
        raise ValueError(f'OTEL_{signal}_EXPORTER is "{by_variable}"; it may be otlp, console or none')
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    has_endpoint = settings.otlp.endpoint or any(environ.get(name) for name in endpoints)
    return "otlp" if has_endpoint else "none"


def _protocol(settings: TelemetrySettings, environ: Mapping[str, str], signal: str) -> str:
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if settings.otlp.protocol is None and (value := environ.get(name, "").strip()):
            if value not in ("http/protobuf", "grpc"):
                raise ValueError(f'{name} is "{value}"; it may be http/protobuf or grpc')
            return value
    return settings.otlp.protocol or "http/protobuf"


def _conventions(traces: TraceSettings, environ: Mapping[str, str]) -> str:
    if traces.conventions is not None:
        return traces.conventions
    if traces.backend is not None:
        return BACKENDS[traces.backend]
    opted_in = [OPT_IN[item] for item in _items(environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "")) if item in OPT_IN]
    return opted_in[-1] if opted_in else "gen_ai"


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")]


def _flag(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").strip().lower() in ("true", "1")


def _milliseconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = 0.0
    if value <= 0:
        raise ValueError(f'{name} is "{text}"; it must be a number of milliseconds')
    return value
