"""The metrics of all workers in the text formats that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gateway.telemetry.metric import Metric
from gateway.telemetry.metric_store import Labels, MetricStore

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family


def exposition(store: MetricStore, accept: str) -> tuple[bytes, str]:
    """The body of /metrics and its content type, in the format that the `Accept` header asks for."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    # To describe itself the registry would collect everything once more.
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(store))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collector:
    """Gives prometheus_client what the store holds now."""

    def __init__(self, store: MetricStore) -> None:
        self._metrics = store.metrics
        self._series: dict[str, list[tuple[Labels, list[float]]]] = {}
        for (name, labels), values in store.read().items():
            self._series.setdefault(name, []).append((labels, values))

    def collect(self) -> Iterable[Family]:
        """Every metric, those without a series too."""
        for name, metric in self._metrics.items():
            yield _family(metric, self._series.get(name, []))


def _family(metric: Metric, series: list[tuple[Labels, list[float]]]) -> Family:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    name, text, labels = metric.prometheus, metric.help, metric.labels
    if metric.kind == "histogram":
        distribution = HistogramMetricFamily(name, text, labels=labels)
        for label_values, values in series:
            distribution.add_metric(label_values, buckets=_cumulative(metric, values), sum_value=values[-1])
        return distribution
    family = (CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily)(name, text, labels=labels)
    for label_values, values in series:
        family.add_metric(label_values, values[0])
    return family


def _cumulative(metric: Metric, values: list[float]) -> list[tuple[str, float]]:
    """The buckets as Prometheus has them: each counts everything up to its upper bound."""
    total, buckets = 0.0, []
    for bound, count in zip([*map(repr, metric.buckets), "+Inf"], values[:-1], strict=True):
        total += count
        buckets.append((bound, total))
    return buckets
