"""The metrics of all workers in the text formats that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from gateway.telemetry.exemplars import Buckets, ExemplarStore
from gateway.telemetry.metric import Metric
from gateway.telemetry.metric_store import Key, Labels, MetricStore

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family


def exposition(store: MetricStore, accept: str, exemplars: ExemplarStore | None = None) -> tuple[bytes, str]:
    """The body of /metrics and its content type, in the format that the `Accept` header asks for.

    Args:
        store: has the metrics.
        accept: the header's value.
        exemplars: shown in OpenMetrics, the format that has a place for them.
    """
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    # To describe itself the registry would collect everything once more.
    registry = CollectorRegistry(auto_describe=False)
    encode, content_type = choose_encoder(accept)
    is_open = content_type.startswith("application/openmetrics-text")
    registry.register(_Collector(store, exemplars.read() if is_open and exemplars is not None else {}))
    return encode(registry), content_type


class _Collector:
    """Gives prometheus_client what the store holds now."""

    def __init__(self, store: MetricStore, exemplars: Mapping[Key, Buckets]) -> None:
        self._metrics, self._exemplars = store.metrics, exemplars
        self._series: dict[str, list[tuple[Labels, list[float]]]] = {}
        for (name, labels), values in store.read().items():
            self._series.setdefault(name, []).append((labels, values))

    def collect(self) -> Iterable[Family]:
        """Every metric, those without a series too."""
        for name, metric in self._metrics.items():
            yield _family(metric, self._series.get(name, []), self._exemplars)


def _family(metric: Metric, series: list[tuple[Labels, list[float]]], exemplars: Mapping[Key, Buckets]) -> Family:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    name, text, labels = metric.prometheus, metric.help, metric.prometheus_labels
    if metric.kind == "histogram":
        distribution = HistogramMetricFamily(name, text, labels=labels)
        for label_values, values in series:
            buckets = _cumulative(metric, values, exemplars.get((metric.name, label_values), {}))
            distribution.add_metric(label_values, buckets=buckets, sum_value=values[-1])
        return distribution
    family = (CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily)(name, text, labels=labels)
    for label_values, values in series:
        family.add_metric(label_values, values[0])
    return family


def _cumulative(metric: Metric, values: list[float], exemplars: Buckets) -> list[Any]:
    """The buckets as Prometheus has them: each counts everything up to its upper bound, and may have an exemplar."""
    from prometheus_client.samples import Exemplar

    total, buckets = 0.0, []
    for index, (bound, count) in enumerate(zip([*map(repr, metric.buckets), "+Inf"], values[:-1], strict=True)):
        total += count
        found = exemplars.get(index)
        ids = {} if found is None else {"trace_id": found.trace_id, "span_id": found.span_id}
        buckets.append((bound, total, None if found is None else Exemplar(ids, found.value, found.time)))
    return buckets
