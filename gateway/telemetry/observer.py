"""The single place to which the endpoint reports requests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from time import monotonic, time
from typing import TYPE_CHECKING

from gateway.telemetry import context, setup
from gateway.telemetry.attributes import ProviderAddress
from gateway.telemetry.exchange import Exchange
from gateway.telemetry.exemplars import ExemplarStore, RequestExemplars
from gateway.telemetry.gen_ai_metrics import GEN_AI_METRICS, GenAiMetrics
from gateway.telemetry.history import SAMPLE_SECONDS, History
from gateway.telemetry.logs import RequestLog
from gateway.telemetry.metric import Metric
from gateway.telemetry.metric_store import Key, Labels, MetricStore, find_shared_folder
from gateway.telemetry.metrics import METRICS, LabelAllowlist, Metrics
from gateway.telemetry.recorder import RequestRecorder
from gateway.telemetry.settings import TelemetrySettings, resolve
from gateway.telemetry.shadows import ShadowOutcome
from providers.types import Call

if TYPE_CHECKING:
    from gateway.telemetry.otlp_metrics import PeriodicExporter
    from gateway.telemetry.traces import Traces


REFRESH_SECONDS = 1.0
"""Seconds between two refreshes of the state gauges: how old those of another worker may be."""

_FORWARDED = ("traceparent", "tracestate", "baggage")

Reading = tuple[Metric, Labels, float]
"""A metric, its labels, and its current value."""


class Telemetry:
    """Traces, metrics and the request log of one process.

    Args:
        settings: the configuration's `telemetry` section.
        peers: the configured providers, by name.
        models: every model name in the configuration. Only these, and a few that a target has served, become labels.
        is_worker: whether this process answers callers; the workers are counted.
    """

    def __init__(
        self,
        settings: TelemetrySettings,
        peers: Mapping[str, ProviderAddress],
        models: Iterable[str],
        *,
        is_worker: bool = True,
    ) -> None:
        self._is_worker = is_worker
        self._settings = resolve(settings, os.environ)
        self._peers = dict(peers)
        has_gen_ai = settings.metrics.gen_ai
        declared = {**METRICS, **GEN_AI_METRICS} if has_gen_ai else METRICS
        self.metric_store = MetricStore(declared, find_shared_folder(os.environ))
        self.exemplars = ExemplarStore(self.metric_store.path)
        self.label_allowlist = LabelAllowlist()
        self.metrics = Metrics(self.metric_store, self.label_allowlist)
        self._gen_ai = GenAiMetrics(self.metric_store, self.label_allowlist, self._peers) if has_gen_ai else None
        self._request_exemplars = RequestExemplars(self.exemplars, self.metrics, self._gen_ai)
        self._name_models(models)
        self.log = RequestLog(settings.logs, settings.content) if settings.logs.requests else None
        self.traces: Traces | None = None
        self._push: PeriodicExporter | None = None
        self.history = History()
        self._sources: list[Callable[[], Iterable[Reading]]] = []
        self._last_readings: dict[Key, float] = {}
        self._refreshing: asyncio.Task[None] | None = None

    def watch(self, source: Callable[[], Iterable[Reading]]) -> None:
        """Call `source` for its current readings (breakers, keys, queues) at every refresh. It must be cheap."""
        self._sources.append(source)

    def open(self) -> None:
        """Start the exporters. Needs the running event loop."""
        self.metrics.set_worker_info(running=self._is_worker)
        self.traces = setup.open_traces(self._settings, self._peers)
        self._push = setup.open_metric_exporter(self._settings, self.metric_store)
        self._refreshing = asyncio.create_task(self._keep_fresh())

    async def aclose(self) -> None:
        """Export what is left, within a time limit, and stop."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        closing = [opened.close for opened in (self.traces, self._push) if opened is not None]
        await asyncio.gather(*(asyncio.to_thread(close) for close in closing))
        self.metric_store.close()

    def begin(self, dialect: str, route: str, request_id: str, headers: Iterable[tuple[bytes, bytes]]) -> Exchange:
        """Start the record of a request whose headers have arrived, and join the caller's trace. `end` must follow.

        Args:
            dialect: name of the wire format.
            route: path of the route, without anything that the caller put into it.
            request_id: the `x-request-id`.
            headers: the caller's, as ASGI gives them.
        """
        start = monotonic()
        self.metrics.request_started()
        sent = context.read_headers(headers)
        parent = context.parse(sent["traceparent"]) if "traceparent" in sent else None
        upstream = {"x-request-id": request_id}
        if sent:
            upstream |= {name: sent[name] for name in _FORWARDED if name in sent}
        trace = None if self.traces is None else _join(self.traces, parent, upstream)
        recorder = RequestRecorder(trace=trace if trace is not None and trace.sampled else None)
        exchange = Exchange(dialect, Call(request_id, headers=upstream, recorder=recorder), start, route, trace)
        exchange.answer_trace = "traceparent" in sent or "x-gateway-traceparent" in sent
        if known := trace or parent:
            exchange.trace_id = known.trace_id
        return exchange

    def end(self, exchange: Exchange) -> None:
        """Count, trace and log a request that is over, answered or not."""
        if exchange.end == 0.0:
            exchange.close()
            exchange.error_type = exchange.error_type or "cancelled"
        self.metrics.request_ended(exchange)
        if self._gen_ai is not None:
            self._gen_ai.request_ended(exchange)
        if self.traces is not None:
            self.traces.make_spans(exchange)
            self._request_exemplars.request_ended(exchange)
        if self.log is not None:
            self.log.write(exchange)
        if exchange.status >= 400 or len(exchange.call.recorder.attempts) > 1:
            name = exchange.request.model if exchange.request else ""
            self.history.add_exchange(exchange, self.label_allowlist.label(name) if name else "", time())

    def configure(self, peers: Mapping[str, ProviderAddress], models: Iterable[str]) -> None:
        """Use the providers and model names of a new configuration from now on."""
        self._name_models(models)
        self._peers.clear()
        self._peers.update(peers)

    def _name_models(self, models: Iterable[str]) -> None:
        names = frozenset(models)
        self.label_allowlist.configure(names)
        self.metrics.create_series(names)

    def reloaded(self, outcome: str) -> None:
        """Count a reload of the configuration: `ok` if it took effect, else `rejected`."""
        self.metrics.count_reload(outcome)

    def shadowed(self, outcome: ShadowOutcome) -> None:
        """Count what became of a shadow call."""
        self.metrics.count_shadow(outcome)

    def refresh(self) -> None:
        """Copy every watched reading into its metric. A gauge that nothing reports any more is set to 0."""
        now = {(metric.name, labels): value for source in self._sources for metric, labels, value in source()}
        for name, labels in {**self._last_readings, **now}:
            value, metric = now.get((name, labels), 0.0), METRICS[name]
            if metric.kind == "gauge":
                self.metric_store.set(metric, labels, value)
            else:
                # A source counts from 0 in each new process, the stored counter goes on: add only the growth.
                growth = max(0.0, value - self._last_readings.get((name, labels), 0.0))
                self.metric_store.add(metric, labels, growth)
        self._last_readings = now

    async def _keep_fresh(self) -> None:
        until_sample = 0.0
        while True:
            self.refresh()
            self.exemplars.publish()
            if self._is_worker and until_sample <= 0:
                self.history.add_sample(time(), self.metric_store.read())
                until_sample = SAMPLE_SECONDS
            until_sample -= REFRESH_SECONDS
            await asyncio.sleep(REFRESH_SECONDS)


def _join(traces: Traces, parent: context.Parent | None, upstream: dict[str, str]) -> context.Trace:
    """Continue the caller's trace, or start one if there is no parent; its headers are added to `upstream`."""
    if parent is None:
        # A tracestate has no meaning without a valid traceparent.
        upstream.pop("tracestate", None)
    trace = traces.begin(parent, upstream.get("tracestate", ""))
    upstream["traceparent"] = trace.traceparent(trace.rerank_span)
    return trace
