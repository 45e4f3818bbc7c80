"""The last hour of this gateway, for the dashboard: bounded in memory, made from the same numbers as /metrics."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from msgspec import Struct

from gateway.telemetry import metrics
from gateway.telemetry.exchange import Exchange
from gateway.telemetry.metric_store import Key
from gateway.telemetry.status import percentiles

SAMPLE_SECONDS = 15
"""Between two samples."""

MAX_SAMPLES = 3600 // SAMPLE_SECONDS
"""Samples kept: an hour."""

MAX_INCIDENTS = 100
"""Refusals and fallbacks kept."""

MAX_TARGETS = 500
"""Targets whose attempts a sample tells apart; those with the most attempts."""

Series = Mapping[Key, list[float]]
Counts = dict[str, tuple[int, int]]


class Sample(Struct, frozen=True):
    """What happened between two samples.

    Attributes:
        time: seconds since the epoch, at its end; later than that of the sample before.
        requests, failed: finished requests, and those of them that failed by no fault of the caller.
        p50_ms, p95_ms: of their durations; None without a request.
        cost: US dollars.
    """

    time: float
    requests: int
    failed: int
    p50_ms: float | None
    p95_ms: float | None
    cost: float


class Incident(Struct, frozen=True, omit_defaults=True):
    """A request that was refused, failed, or served by another target than the first. Without any text of it.

    Attributes:
        time: seconds since the epoch.
        caller: the name of the key.
        model: as it was asked for, if it is one that may be a label.
        served: the `provider/model` that served.
        failed: each attempt that did not: target and code.
    """

    time: float
    request_id: str
    status: int
    caller: str = ""
    model: str = ""
    error_type: str = ""
    served: str = ""
    failed: list[str] = []


class History:
    """The last hour, and the last incidents of this process."""

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque(maxlen=MAX_SAMPLES)
        self.incidents: deque[Incident] = deque(maxlen=MAX_INCIDENTS)
        self._before: Series | None = None
        self._attempts: deque[Counts] = deque()
        self._totals: dict[str, list[int]] = {}

    def add_sample(self, now: float, series: Series) -> None:
        """Keep what has happened since the last time.

        Args:
            now: seconds since the epoch.
            series: as `MetricStore.read` gives it.
        """
        before, self._before = self._before, series
        if before is None:
            return
        growth = {key: _growth(values, before.get(key)) for key, values in series.items()}
        if self.samples:  # A clock that is set back must not turn the hour around.
            now = max(now, self.samples[-1].time + 0.001)
        self.samples.append(_sample(now, growth))
        self._count(_busiest(_attempts(growth)))

    def uptimes(self) -> dict[str, float]:
        """By target: the share of the attempts of these samples that did not fail."""
        return {path: 1 - failures / attempts for path, (attempts, failures) in self._totals.items() if attempts}

    def _count(self, attempts: Counts) -> None:
        """Add the attempts of the newest sample, and take away those of one that is no longer kept."""
        self._attempts.append(attempts)
        self._add(attempts, 1)
        if len(self._attempts) > MAX_SAMPLES:
            self._add(self._attempts.popleft(), -1)

    def _add(self, counts: Counts, sign: int) -> None:
        for path, (attempts, failures) in counts.items():
            total = self._totals.setdefault(path, [0, 0])
            total[0] += sign * attempts
            total[1] += sign * failures
            if not total[0]:
                del self._totals[path]

    def add_exchange(self, exchange: Exchange, model: str, now: float) -> None:
        """Keep a request that did not go as it should; `model` is the label of what it asked for."""
        ranking = exchange.ranking
        self.incidents.append(
            Incident(
                now,
                exchange.call.id,
                exchange.status,
                exchange.caller,
                model,
                exchange.error_type,
                f"{ranking.provider}/{ranking.model}" if ranking else "",
                [
                    f"{attempt.provider}/{attempt.model if attempt.has_target else '?'} {attempt.error_type}"[:300]
                    for attempt in exchange.call.recorder.attempts[:MAX_FAILED_SHOWN]
                    if attempt.error_type
                ],
            )
        )


MAX_FAILED_SHOWN = 8
"""Attempts of one incident that are shown."""


def _growth(now: list[float], before: list[float] | None) -> list[float]:
    return now if before is None else [max(0.0, a - b) for a, b in zip(now, before, strict=True)]


def _sample(now: float, growth: Series) -> Sample:
    width = len(metrics.DURATION.buckets) + 2
    durations, requests, failed, cost = [0.0] * width, 0, 0, 0.0
    for (name, _), values in growth.items():
        if name == metrics.REQUESTS.name:
            requests += int(values[0])
        elif name == metrics.SLO_FAILURES.name:
            failed += int(values[0])
        elif name == metrics.COST.name:
            cost += values[0]
        elif name == metrics.DURATION.name:
            durations = [a + b for a, b in zip(durations, values, strict=True)]
    spread = percentiles(metrics.DURATION, durations)
    return Sample(now, requests, failed, spread.p50, spread.p95, cost)


def _attempts(growth: Series) -> Counts:
    targets: Counts = {}
    for (name, labels), values in growth.items():
        if name == metrics.ATTEMPTS.name and values[0] and labels[2] in ("ok", "error"):
            path = f"{labels[0]}/{labels[1]}"
            attempts, failures = targets.get(path, (0, 0))
            targets[path] = (attempts + int(values[0]), failures + int(values[0]) * (labels[2] == "error"))
    return targets


def _busiest(targets: Counts) -> Counts:
    if len(targets) <= MAX_TARGETS:
        return targets
    return dict(sorted(targets.items(), key=lambda entry: -entry[1][0])[:MAX_TARGETS])
