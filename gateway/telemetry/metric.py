"""How a metric is declared: its OpenTelemetry name, unit and labels, and what Prometheus calls it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Metric(Struct, frozen=True):
    """One metric.

    Attributes:
        name: OpenTelemetry's, with dots.
        help: what it counts, for people.
        kind: a counter only grows, a gauge goes up and down, a histogram counts values per bucket and adds them up.
        unit: in UCUM, as OpenTelemetry wants it: `s` seconds, `By` bytes, `1` a plain number.
        labels: the names of its labels. Every value of a label must come from a bounded set.
        buckets: a histogram's upper bounds, ascending, without the last, infinite one.
    """

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str = "1"
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def prometheus(self) -> str:
        """The name of the metric family at /metrics. A counter's samples add `_total` to it."""
        suffix = {"s": "_seconds", "By": "_bytes"}.get(self.unit, "")
        return self.name.replace(".", "_") + suffix

    @property
    def prometheus_labels(self) -> tuple[str, ...]:
        """The names of the labels at /metrics."""
        return tuple(label.replace(".", "_") for label in self.labels)

    @property
    def series(self) -> tuple[str, ...]:
        """The sample names that a Prometheus query may use."""
        if self.kind == "histogram":
            return tuple(self.prometheus + end for end in ("_bucket", "_count", "_sum"))
        return (self.prometheus + "_total",) if self.kind == "counter" else (self.prometheus,)


def counter(name: str, help: str, labels: tuple[str, ...] = (), unit: str = "1") -> Metric:
    """Declare a metric that only grows."""
    return Metric(name, help, "counter", unit, labels)


def gauge(name: str, help: str, labels: tuple[str, ...] = (), unit: str = "1") -> Metric:
    """Declare a metric that goes up and down, and is 0 for a process that has ended."""
    return Metric(name, help, "gauge", unit, labels)


def histogram(
    name: str, help: str, buckets: tuple[float, ...], labels: tuple[str, ...] = (), unit: str = "1"
) -> Metric:
    """Declare a distribution over `buckets`, which are upper bounds in `unit`."""
    return Metric(name, help, "histogram", unit, labels, buckets)
