"""Traces: the sampling decision when a request starts, and all its spans when it is over.

Spans are made from the finished record, with the times noted in it, so a request that is not sampled costs only the
sampling decision. Their ids are drawn earlier, because an attempt sends its span's id to the upstream. For both reasons
a span is built as the SDK's `ReadableSpan`, which exporters read, and not with a tracer, which costs ten times as much:
docs/decisions/0022-traces.md.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from gateway.telemetry import attributes, names
from gateway.telemetry.attributes import SpanAttributes
from gateway.telemetry.content import shorten
from gateway.telemetry.context import Parent, Trace, new_span_id, new_trace_id
from gateway.telemetry.exchange import AttemptPosition, Exchange, positions
from gateway.telemetry.names import SpanName
from providers.attempts import AttemptRecord

_EMPTY = Context()
_KINDS = {"SERVER": SpanKind.SERVER, "CLIENT": SpanKind.CLIENT, "INTERNAL": SpanKind.INTERNAL}
_ERROR, _UNSET = Status(StatusCode.ERROR), Status(StatusCode.UNSET)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope(names.SCOPE)
_OPERATION = {"gen_ai.operation.name": names.OPERATION}
CLOSE_SECONDS = 2.0
"""How long a gateway that stops waits for its last spans to be exported."""


class Traces:
    """Makes the spans of finished requests and passes them to the exporter.

    Args:
        processor: receives finished spans.
        resource: describes this process in every span.
        wording: names of the attributes, and what may be recorded.
        ratio: share of the traces starting here that is recorded; None leaves it to OTEL_TRACES_SAMPLER.
    """

    def __init__(
        self, processor: SpanProcessor, resource: Resource, wording: SpanAttributes, ratio: float | None
    ) -> None:
        self._resource = _Hashed(resource)
        self._processor = processor
        self._wording = wording
        self._sampler = _sampler(ratio)
        self._bound = None if ratio is None else TraceIdRatioBased(ratio).bound

    def begin(self, parent: Parent | None, state: str) -> Trace:
        """Start a trace, or join the caller's, and decide whether it is recorded."""
        trace_id = new_trace_id() if parent is None else parent.trace_id
        return Trace(trace_id, parent, new_span_id(), new_span_id(), self._is_sampled(trace_id, parent, state), state)

    def _is_sampled(self, trace_id: int, parent: Parent | None, state: str) -> bool:
        if parent is None and self._bound is not None:
            # The usual case: the SDK's own rule without the objects that it makes to apply it, which cost 3 CPU-µs.
            return trace_id & TraceIdRatioBased.TRACE_ID_LIMIT < self._bound
        context = _EMPTY if parent is None else _above(parent, state)
        name = names.SERVER_SPAN.name
        result = self._sampler.should_sample(context, trace_id, name, SpanKind.SERVER, _OPERATION)
        return result.decision.is_sampled()  # type: ignore[no-any-return, no-untyped-call]  # not annotated by the SDK

    def make_spans(self, exchange: Exchange) -> None:
        """Make the spans of a finished request, if its trace is recorded."""
        trace = exchange.trace
        if trace is None or not trace.sampled:
            return
        tree = _Tree(self._processor, self._resource, trace)
        failed = exchange.status >= 500 or exchange.outcome == "cancelled"
        server = tree.span(
            f"POST {exchange.route}", names.SERVER_SPAN, trace.server_span, None, exchange.start, exchange.end,
            attributes.server_attributes(exchange), failed,
        )  # fmt: skip
        if exchange.request is not None:
            self._rerank(tree, exchange, server)

    def _rerank(self, tree: _Tree, exchange: Exchange, server: SpanContext) -> None:
        assert exchange.trace is not None  # noqa: S101  # `ended` saw both
        assert exchange.request is not None  # noqa: S101
        values = self._wording.rerank_attributes(exchange)
        name = f"rerank {shorten(exchange.request.model)}"
        ids = exchange.trace.rerank_span
        rerank = tree.span(
            name, names.RERANK_SPAN, ids, server, exchange.read, exchange.end, values, exchange.outcome != "ok"
        )
        for attempt, position in positions(exchange.attempts):
            self._attempt(tree, attempt, position, rerank)

    def _attempt(self, tree: _Tree, record: AttemptRecord, position: AttemptPosition, rerank: SpanContext) -> None:
        values = self._wording.attempt_attributes(record, position)
        kind = names.ATTEMPT_SPAN if names.ADDRESS.name in values else _INSIDE
        name, failed = f"attempt {record.provider}", bool(record.error_type)
        attempt = tree.span(name, kind, record.span_id, rerank, record.start, record.end, values, failed)
        for part in record.parts:
            self._attempt(tree, part, position, attempt)
        start = record.start
        for phase, detail in names.LOCAL_PHASES:
            if record.details is not None and detail in record.details:
                end = min(start + record.details[detail] / 1000, record.end)
                tree.span(phase.name, phase, new_span_id(), attempt, start, end, {}, False)
                start = end

    def close(self) -> None:
        """Export what is left, for at most CLOSE_SECONDS. Blocks."""
        # The processor's own shutdown would wait up to half a minute for a collector that is down.
        last = threading.Thread(target=self._processor.shutdown, name="traces-close", daemon=True)
        last.start()
        last.join(CLOSE_SECONDS)


_INSIDE = SpanName(names.ATTEMPT_SPAN.name, "INTERNAL", names.ATTEMPT_SPAN.parent, names.ATTEMPT_SPAN.help)


class _Hashed(Resource):
    """A resource that computes its hash once: the exporter asks for it with every span, at 14 CPU-µs each time."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.attributes, resource.schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


class _Tree:
    """The spans of one trace."""

    def __init__(self, processor: SpanProcessor, resource: Resource, trace: Trace) -> None:
        self._processor, self._resource, self._trace = processor, resource, trace
        self._state = _state(trace.state)
        # Records have monotonic times, spans need the time of day.
        self._epoch = time.time_ns() - time.monotonic_ns()

    def span(
        self,
        name: str,
        kind: SpanName,
        span_id: int,
        parent: SpanContext | None,
        start: float,
        end: float,
        values: Mapping[str, Any],
        failed: bool,
    ) -> SpanContext:
        """Export a finished span under `parent`, or under the caller's span. Returns the context for its children."""
        own = SpanContext(self._trace.trace_id, span_id, False, _SAMPLED, self._state)
        span = ReadableSpan(
            name,
            own,
            self._callers() if parent is None else parent,
            self._resource,
            values,
            kind=_KINDS[kind.kind],
            status=_ERROR if failed else _UNSET,
            start_time=self._epoch + int(start * 1e9),
            end_time=self._epoch + int(end * 1e9),
            instrumentation_scope=_SCOPE,
        )
        self._processor.on_end(span)
        return own

    def _callers(self) -> SpanContext | None:
        parent = self._trace.parent
        if parent is None:
            return None
        return _remote(parent.trace_id, parent.span_id, parent.sampled, self._state)


def _above(parent: Parent, state: str) -> Context:
    context = _remote(parent.trace_id, parent.span_id, parent.sampled, _state(state))
    return set_span_in_context(NonRecordingSpan(context), _EMPTY)


def _remote(trace_id: int, span_id: int, sampled: bool, state: TraceState | None) -> SpanContext:
    flags = _SAMPLED if sampled else TraceFlags(TraceFlags.DEFAULT)
    return SpanContext(trace_id, span_id, True, flags, state)


def _state(header: str) -> TraceState | None:
    return TraceState.from_header([header]) if header else None


def _sampler(ratio: float | None) -> Sampler:
    if ratio is not None:
        return ParentBased(TraceIdRatioBased(ratio))
    # OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG are read by the SDK's provider only.
    return TracerProvider(resource=Resource({}), shutdown_on_exit=False).sampler
