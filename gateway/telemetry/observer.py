"""The one thing that the endpoint tells of its requests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from gateway.telemetry import context, setup
from gateway.telemetry.attributes import Peer
from gateway.telemetry.exchange import Exchange
from gateway.telemetry.logs import RequestLog
from gateway.telemetry.metric import Metric
from gateway.telemetry.metric_store import Key, Labels, MetricStore, folder_of
from gateway.telemetry.metrics import METRICS, LabelAllowlist, Metrics
from gateway.telemetry.settings import TelemetrySettings, resolve
from providers.types import Call

if TYPE_CHECKING:
    from gateway.telemetry.push import Push
    from gateway.telemetry.traces import Traces


REFRESH_SECONDS = 1.0
"""How old the state gauges of another worker may be."""

_SENT_ON = ("traceparent", "tracestate", "baggage")

Reading = tuple[Metric, Labels, float]
"""A metric, its labels, and the value that it has now."""


class Telemetry:
    """Traces, metrics and the request log of one process.

    Args:
        settings: the configuration's `telemetry` section.
        peers: the configured providers.
        models: every model name that the configuration mentions; only these, and a few that were served, are labels.
    """

    def __init__(self, settings: TelemetrySettings, peers: Mapping[str, Peer], models: Iterable[str]) -> None:
        self._choices = resolve(settings, os.environ)
        self._peers = dict(peers)
        self.metric_store = MetricStore(METRICS, folder_of(os.environ))
        self.label_allowlist = LabelAllowlist(models)
        self.metrics = Metrics(self.metric_store, self.label_allowlist)
        self.log = RequestLog(settings.logs, settings.content) if settings.logs.requests else None
        self.traces: Traces | None = None
        self._push: Push | None = None
        self._sources: list[Callable[[], Iterable[Reading]]] = []
        self._shown: dict[Key, float] = {}
        self._refreshing: asyncio.Task[None] | None = None

    def watch(self, source: Callable[[], Iterable[Reading]]) -> None:
        """Ask for the state of something (breakers, keys, queues) whenever gauges are read. It must be cheap."""
        self._sources.append(source)

    def open(self) -> None:
        """Start the exporters. Needs the running event loop."""
        self.metrics.set_worker_info(running=True)
        self.traces = setup.open_traces(self._choices, self._peers)
        self._push = setup.open_push(self._choices, self.metric_store)
        self._refreshing = asyncio.create_task(self._keep_fresh())

    async def aclose(self) -> None:
        """Send what is left, for a bounded time, and stop."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        closing = [opened.close for opened in (self.traces, self._push) if opened is not None]
        await asyncio.gather(*(asyncio.to_thread(close) for close in closing))
        self.metric_store.close()

    def began(self, exchange: Exchange, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """A request's headers are there: join the caller's trace, and tell the upstreams of it."""
        self.metrics.request_started()
        sent = context.sent_by_caller(headers)
        call = exchange.call
        if sent:
            exchange.answer_trace = "traceparent" in sent or "x-gateway-traceparent" in sent
            for name in _SENT_ON:
                if name in sent:
                    call.headers[name] = sent[name]
        parent = context.parse(sent["traceparent"]) if "traceparent" in sent else None
        if self.traces is not None:
            self._trace(self.traces, exchange, parent)
        elif parent is not None:
            exchange.trace_id = parent.trace_id

    def ended(self, exchange: Exchange) -> None:
        """The request is over, answered or not."""
        if exchange.end == 0.0:
            exchange.close()
            exchange.error_type = exchange.error_type or "cancelled"
        self.metrics.request_ended(exchange)
        if self.traces is not None:
            self.traces.ended(exchange)
        if self.log is not None:
            self.log.ended(exchange)

    def configure(self, peers: Mapping[str, Peer], models: Iterable[str]) -> None:
        """Another configuration is in force, with these providers and model names."""
        self.label_allowlist.configure(models)
        self._peers.clear()
        self._peers.update(peers)

    def reloaded(self, outcome: str) -> None:
        """A configuration was read again: `ok` if it was taken over, else `rejected`."""
        self.metrics.count_reload(outcome)

    def refresh(self) -> None:
        """Read every watched state into its metric. A gauge that nothing shows any more goes to 0."""
        now = {(metric.name, labels): value for source in self._sources for metric, labels, value in source()}
        for name, labels in {**self._shown, **now}:
            value, metric = now.get((name, labels), 0.0), METRICS[name]
            if metric.kind == "gauge":
                self.metric_store.set(metric, labels, value)
            else:
                # What is counted elsewhere begins at 0 in a new process, the stored numbers do not.
                grown = max(0.0, value - self._shown.get((name, labels), 0.0))
                self.metric_store.add(metric, labels, grown)
        self._shown = now

    def _trace(self, traces: Traces, exchange: Exchange, parent: context.Parent | None) -> None:
        call = exchange.call
        if parent is None:
            # Without a valid traceparent a tracestate means nothing.
            call.headers.pop("tracestate", None)
        trace = exchange.trace = traces.begin(parent, call.headers.get("tracestate", ""))
        exchange.trace_id = trace.trace_id
        call.headers["traceparent"] = trace.traceparent(trace.rerank_span)
        if trace.sampled:
            call.attempt_headers = _propagation(trace, call)

    async def _keep_fresh(self) -> None:
        while True:
            self.refresh()
            await asyncio.sleep(REFRESH_SECONDS)


def _propagation(trace: context.Trace, call: Call) -> Callable[[], dict[str, str]]:
    """What makes the headers of each attempt: the call's, with a span of the attempt's own as the parent."""

    def attempt_headers() -> dict[str, str]:
        return {**call.headers, "traceparent": trace.traceparent(context.new_span_id())}

    return attempt_headers
