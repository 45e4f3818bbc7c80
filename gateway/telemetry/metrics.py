"""What a finished request adds to the metrics."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from gateway.telemetry import names
from gateway.telemetry.cells import Labels, MetricStore
from gateway.telemetry.exchange import AttemptPosition, Exchange, places
from gateway.telemetry.names import OTHER, Metric
from providers.types import Ranking, Timing, Usage

LEARNED_NAMES = 100
"""Model names that become labels because a target served them, beside those of the configuration."""

_NOT_ASKED = frozenset({"cancelled", "breaker_open"})
"""Attempts whose length says nothing of the target."""

_OUTCOMES = {"": "ok", "cancelled": "cancelled", "breaker_open": "skipped"}

_ALONE = AttemptPosition(0, 0, False)


class LabelAllowlist:
    """The bounded set of names that may be labels: those of the configuration, and the first that were served."""

    def __init__(self, configured: Iterable[str] = ()) -> None:
        self._configured = frozenset(configured)
        self._served: set[str] = set()

    def configure(self, configured: Iterable[str]) -> None:
        """Another configuration is in force."""
        self._configured = frozenset(configured)

    def label(self, name: str) -> str:
        """The name if it is in the set, else `_other`."""
        return name if name in self._configured or name in self._served else OTHER

    def served(self, name: str) -> str:
        """The label of a name that a target has just served."""
        if name in self._configured or name in self._served:
            return name
        if len(self._served) >= LEARNED_NAMES:
            return OTHER
        self._served.add(name)
        return name


class Scalar:
    """A counter or a gauge."""

    def __init__(self, cells: MetricStore, metric: Metric) -> None:
        self._cells, self._metric = cells, metric
        self._values = cells.values
        self._index: dict[Labels, int] = {}

    def add(self, labels: Labels = (), amount: float = 1.0) -> None:
        index = self._index.get(labels)
        if index is None:
            index = self._find(labels)
        self._values[index] += amount

    def set(self, labels: Labels, value: float) -> None:
        self._values[self._find(labels)] = value

    def _find(self, labels: Labels) -> int:
        index = self._index[labels] = self._cells.place(self._metric, labels)
        return index


class Histogram:
    """A histogram: a count per bucket, and the sum."""

    def __init__(self, cells: MetricStore, metric: Metric) -> None:
        self._cells, self._metric = cells, metric
        self._values = cells.values
        self._bounds = metric.buckets
        self._sum = len(metric.buckets) + 1
        self._index: dict[Labels, int] = {}

    def add(self, value: float, labels: Labels = ()) -> None:
        index = self._index.get(labels)
        if index is None:
            index = self._index[labels] = self._cells.place(self._metric, labels)
        values = self._values
        values[index + bisect_left(self._bounds, value)] += 1.0
        values[index + self._sum] += value


class Metrics:
    """All metrics of this process."""

    def __init__(self, cells: MetricStore, known: LabelAllowlist) -> None:
        self.cells, self.known = cells, known
        single = {metric: Scalar(cells, metric) for metric in names.METRICS if metric.kind != "histogram"}
        self.requests, self.tries, self.retries = (
            single[names.REQUESTS],
            single[names.ATTEMPTS_METRIC],
            single[names.RETRIES],
        )
        self.fallbacks, self.hedges = single[names.FALLBACKS], single[names.HEDGES]
        self.degraded, self.in_flight = single[names.DEGRADED_ANSWERS], single[names.IN_FLIGHT]
        self.tokens, self.search_units, self.cost = (
            single[names.TOKENS],
            single[names.SEARCH_UNITS],
            single[names.COST],
        )
        self.truncated = single[names.TRUNCATED_DOCUMENTS]
        self.single = {metric.name: series for metric, series in single.items()}
        self.duration, self.own_time = Histogram(cells, names.DURATION), Histogram(cells, names.OVERHEAD_METRIC)
        self.try_duration = Histogram(cells, names.ATTEMPT_DURATION)
        self.documents = Histogram(cells, names.DOCUMENT_COUNT)
        self.request_bytes, self.answer_bytes = (
            Histogram(cells, names.REQUEST_BYTES),
            Histogram(cells, names.ANSWER_BYTES),
        )

    def began(self) -> None:
        self.in_flight.add()

    def ended(self, exchange: Exchange) -> None:
        """Count a request that is over."""
        self.in_flight.add((), -1.0)
        ranking, timings = exchange.ranking, exchange.call.timings
        model = self._model(exchange)
        provider = ranking.provider if ranking else timings[0].provider if timings else ""
        outcome = exchange.outcome
        self.requests.add((exchange.dialect, model, provider, outcome, exchange.error_type))
        self.duration.add(exchange.end - exchange.start, (model, outcome))
        self.request_bytes.add(exchange.bytes_in)
        if exchange.status:
            self.answer_bytes.add(exchange.bytes_out)
        if exchange.request is not None:
            self.documents.add(len(exchange.request.documents))
        if timings:
            self.own_time.add(exchange.overhead)
            self._attempts(timings)
        if ranking is not None:
            self._served(exchange, ranking, model)

    def _model(self, exchange: Exchange) -> str:
        if exchange.request is None:
            return ""
        name = exchange.request.model
        return self.known.served(name) if _first_served(exchange) else self.known.label(name)

    def _attempts(self, timings: list[Timing]) -> None:
        if len(timings) == 1:
            self._attempt(timings[0], _ALONE)
            return
        for timing, place in places(timings):
            self._attempt(timing, place)
            if place.retry and not place.hedged:
                self.retries.add((timing.provider,))
            if place.hedged:
                self.hedges.add((timing.provider, "lost" if timing.error_type else "won"))

    def _attempt(self, timing: Timing, place: AttemptPosition) -> None:
        error = timing.error_type
        model = self.known.label(timing.model) if error else self.known.served(timing.model)
        outcome = _OUTCOMES.get(error, "error")
        self.tries.add((timing.provider, model, outcome, error))
        if error not in _NOT_ASKED:
            self.try_duration.add(timing.end - timing.start, (timing.provider, model))

    def _served(self, exchange: Exchange, ranking: Ranking, model: str) -> None:
        won = (timing.model for timing in reversed(exchange.call.timings) if not timing.error_type)
        target = (ranking.provider, self.known.label(next(won, ranking.model)))
        if ranking.usage is not None:
            self._used(ranking.usage, target)
        if exchange.cost:
            self.cost.add(target, exchange.cost)
        if len(exchange.call.attempts) > 1 and not _first_served(exchange):
            self.fallbacks.add((model, ranking.provider))
        if exchange.degraded:
            self.degraded.add((model,))
        if ranking.details is not None and (truncated := ranking.details.get("truncated_documents")):
            self.truncated.add(target, truncated)

    def _used(self, usage: Usage, target: Labels) -> None:
        if tokens := usage.total_tokens or usage.prompt_tokens:
            self.tokens.add(target, tokens)
        if usage.search_units:
            self.search_units.add(target, usage.search_units)


def _first_served(exchange: Exchange) -> bool:
    """Whether the first target that was tried gave the answer."""
    if exchange.ranking is None:
        return False
    attempts = exchange.call.attempts
    if len(attempts) < 2:
        return True
    winner = next((attempt for attempt in reversed(attempts) if attempt.error is None), attempts[0])
    return (attempts[0].provider, attempts[0].model) == (winner.provider, winner.model)
