"""The metrics of all workers in the text formats that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from gateway.telemetry import names
from gateway.telemetry.cells import Key, Labels, MetricStore

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family


def exposition(cells: MetricStore, accept: str) -> tuple[bytes, str]:
    """The body of /metrics and its content type, in the format that the `Accept` header asks for."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Series(cells.read()))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Series:
    """Gives prometheus_client what the cells hold."""

    def __init__(self, series: Mapping[Key, list[float]]) -> None:
        self._grouped: dict[str, list[tuple[Labels, list[float]]]] = {}
        for (name, labels), values in series.items():
            self._grouped.setdefault(name, []).append((labels, values))

    def collect(self) -> Iterable[Family]:
        """Every metric, those without a series too."""
        for metric in names.METRICS:
            yield _family(metric, self._grouped.get(metric.name, []))


def _family(metric: names.Metric, series: list[tuple[Labels, list[float]]]) -> Family:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    name, text, labels = metric.prometheus, metric.help, metric.labels
    if metric.kind == "histogram":
        family = HistogramMetricFamily(name, text, labels=labels)
        for values, cells in series:
            family.add_metric(values, buckets=_cumulative(metric, cells), sum_value=cells[-1])
        return family
    single = (CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily)(name, text, labels=labels)
    for values, cells in series:
        single.add_metric(values, cells[0])
    return single


def _cumulative(metric: names.Metric, cells: list[float]) -> list[tuple[str, float]]:
    total, buckets = 0.0, []
    for bound, count in zip([*map(_bound, metric.buckets), "+Inf"], cells[:-1], strict=True):
        total += count
        buckets.append((bound, total))
    return buckets


def _bound(value: float) -> str:
    return repr(value)
