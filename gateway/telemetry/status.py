"""The state of the gateway for `GET /v1/status`: over all workers, and read from the same numbers as /metrics."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from gateway.telemetry import metrics
from gateway.telemetry.metric import Metric
from gateway.telemetry.metric_store import Key, Labels, MetricStore

Series = Mapping[Key, list[float]]


class Percentiles(Struct, omit_defaults=True):
    """Percentiles since the start, in milliseconds; absent where nothing was measured."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class TargetStatus(Struct, omit_defaults=True):
    """One target that was tried or has a breaker.

    Attributes:
        state: of the breaker: closed, open, half_open; the worst of all workers. Absent without a breaker.
        attempts, errors: since the start; cancelled attempts count as neither.
        errors_by_type: those errors by their code.
        cost_usd: of its answers whose price is known.
    """

    provider: str
    model: str
    state: str | None = None
    attempts: int = 0
    errors: int = 0
    latency_ms: Percentiles | None = None
    errors_by_type: dict[str, int] = {}
    cost_usd: float = 0.0


class KeyStatus(Struct):
    """One key of a provider, by its configured name: the worst state of all workers."""

    provider: str
    key: str
    state: str


class QueueStatus(Struct):
    """What waits in the local engine for one model."""

    provider: str
    model: str
    queued_tokens: int
    batches: int = 0
    texts: int = 0


class ShadowStatus(Struct, omit_defaults=True):
    """How a candidate does beside a model, since the start.

    Attributes:
        model: the name whose requests it ranks too.
        candidate: its `provider/model`.
        calls: by outcome: ok, error, dropped.
        overlap_at_10: mean share of the first ten results that both have.
        kendall_tau: mean of Kendall's tau, from -1 to 1.
        top_changed: share of its rankings whose first result is another one.
        cost_usd: what it cost.
    """

    model: str
    candidate: str
    calls: dict[str, int]
    overlap_at_10: float | None = None
    kendall_tau: float | None = None
    top_changed: float | None = None
    latency_ms: Percentiles | None = None
    cost_usd: float = 0.0


class CanaryStatus(Struct):
    """Whether a target still scores as at first.

    Attributes:
        state: unknown, steady, or moved.
        drift: how far the score that moved most has moved, as a share of the range of the first scores.
    """

    provider: str
    model: str
    state: str
    drift: float


class Snapshot(Struct):
    """The metrics of all workers at one moment, as the status shows them.

    Attributes:
        in_flight: requests that are being answered.
        requests: finished requests by outcome, since the start.
        overhead_ms: the gateway's own time per request.
        shares: by the model that was asked for, the share of its answers that each provider gave.
    """

    in_flight: int
    requests: dict[str, int]
    overhead_ms: Percentiles
    targets: list[TargetStatus]
    keys: list[KeyStatus]
    queues: list[QueueStatus]
    shadows: list[ShadowStatus]
    canaries: list[CanaryStatus]
    shares: dict[str, dict[str, float]]


_WORST_FIRST = ("open", "half_open", "closed", "rejected", "cooling", "ok", "moved", "steady", "unknown")


def take_snapshot(store: MetricStore) -> Snapshot:
    """Read every worker's metrics now."""
    series = store.read()
    keys = sorted(_worst_states(metrics.KEY_STATE, series).items())
    queues = sorted(_series_of(metrics.QUEUE_TOKENS, series))
    requests = {"ok": 0, "error": 0, "cancelled": 0}
    for labels, values in _series_of(metrics.REQUESTS, series):
        requests[labels[3]] += int(values[0])
    overhead = series.get((metrics.OVERHEAD.name, ()))
    return Snapshot(
        in_flight=int(series.get((metrics.IN_FLIGHT.name, ()), [0.0])[0]),
        requests=requests,
        overhead_ms=percentiles(metrics.OVERHEAD, overhead) if overhead else Percentiles(),
        targets=_targets(series),
        keys=[KeyStatus(labels[0], labels[1], state) for labels, state in keys],
        queues=[_queue(labels, int(values[0]), series) for labels, values in queues],
        shadows=_shadows(series),
        canaries=_canaries(series),
        shares=_shares(series),
    )


def percentiles(metric: Metric, values: list[float]) -> Percentiles:
    """The percentiles of one series of a histogram of seconds, as `MetricStore.read` gives it."""
    return Percentiles(*(_percentile(metric.buckets, values[:-1], share) for share in (0.5, 0.95, 0.99)))


def _percentile(bounds: tuple[float, ...], counts: list[float], share: float) -> float | None:
    """Milliseconds below which `share` of the values lie; None without a value.

    As Prometheus' histogram_quantile does: linear within a bucket, and the last bound for what lies above it.
    """
    rank = share * sum(counts)
    if not rank:
        return None
    below = 0.0
    for bucket, count in enumerate(counts[:-1]):
        if below + count >= rank:
            low = bounds[bucket - 1] if bucket else 0.0
            return round((low + (bounds[bucket] - low) * (rank - below) / count) * 1000, 3)
        below += count
    return round(bounds[-1] * 1000, 3)


def _targets(series: Series) -> list[TargetStatus]:
    targets: dict[Labels, TargetStatus] = {}
    for (provider, model, outcome, error), values in _series_of(metrics.ATTEMPTS, series):
        if outcome in ("ok", "error"):
            target = targets.setdefault((provider, model), TargetStatus(provider, model))
            _add_attempts(target, int(values[0]), error)
    for labels, values in _series_of(metrics.COST, series):
        if labels in targets:
            targets[labels].cost_usd = values[0]
    for labels, values in _series_of(metrics.ATTEMPT_DURATION, series):
        if labels in targets:
            targets[labels].latency_ms = percentiles(metrics.ATTEMPT_DURATION, values)
    for labels, state in _worst_states(metrics.TARGET_STATE, series).items():
        targets.setdefault(labels, TargetStatus(labels[0], labels[1])).state = state
    return [targets[labels] for labels in sorted(targets)]


def _shadows(series: Series) -> list[ShadowStatus]:
    shadows: dict[Labels, ShadowStatus] = {}
    for (model, candidate, outcome, _), values in _series_of(metrics.SHADOW_CALLS, series):
        shadow = shadows.setdefault((model, candidate), ShadowStatus(model, candidate, {}))
        shadow.calls[outcome] = shadow.calls.get(outcome, 0) + int(values[0])
    for labels, shadow in shadows.items():
        shadow.overlap_at_10 = _mean(metrics.SHADOW_OVERLAP, labels, series)
        discordance = _mean(metrics.SHADOW_DISCORDANCE, labels, series)
        shadow.kendall_tau = None if discordance is None else round(1 - 2 * discordance, 4)
        if ranked := shadow.calls.get("ok"):
            changes = series.get((metrics.SHADOW_TOP_CHANGES.name, labels), [0.0])[0]
            shadow.top_changed = round(changes / ranked, 4)
        if timed := series.get((metrics.SHADOW_DURATION.name, labels)):
            shadow.latency_ms = percentiles(metrics.SHADOW_DURATION, timed)
        shadow.cost_usd = series.get((metrics.SHADOW_COST.name, labels), [0.0])[0]
    return [shadows[labels] for labels in sorted(shadows)]


def _queue(labels: Labels, tokens: int, series: Series) -> QueueStatus:
    batches, texts = (
        int(series.get((metric.name, labels), [0.0])[0]) for metric in (metrics.BATCHES, metrics.BATCH_TEXTS)
    )
    return QueueStatus(labels[0], labels[1], tokens, batches, texts)


def _shares(series: Series) -> dict[str, dict[str, float]]:
    served: dict[str, dict[str, float]] = {}
    for (_, model, provider, outcome, _), values in _series_of(metrics.REQUESTS, series):
        if outcome == "ok" and values[0]:
            providers = served.setdefault(model, {})
            providers[provider] = providers.get(provider, 0.0) + values[0]
    return {
        model: {name: round(count / sum(providers.values()), 4) for name, count in providers.items()}
        for model, providers in served.items()
    }


def _mean(metric: Metric, labels: Labels, series: Series) -> float | None:
    """The mean of one series of a histogram; None without a value."""
    values = series.get((metric.name, labels))
    count = sum(values[:-1]) if values else 0.0
    return round(values[-1] / count, 4) if values and count else None


def _canaries(series: Series) -> list[CanaryStatus]:
    states = _worst_states(metrics.CANARY_STATE, series)
    drifts = dict(_series_of(metrics.CANARY_DRIFT, series))
    return [
        CanaryStatus(labels[0], labels[1], state, round(drifts.get(labels, [0.0])[0], 4))
        for labels, state in sorted(states.items())
    ]


def _add_attempts(target: TargetStatus, count: int, error: str) -> None:
    target.attempts += count
    if error and count:
        target.errors += count
        target.errors_by_type[error] = target.errors_by_type.get(error, 0) + count


def _worst_states(metric: Metric, series: Series) -> dict[Labels, str]:
    """The worst state that any worker has, by the labels before the state."""
    worst: dict[Labels, str] = {}
    for labels, values in _series_of(metric, series):
        *subject, state = labels
        so_far = worst.get(tuple(subject))
        if values[0] > 0 and (so_far is None or _WORST_FIRST.index(state) < _WORST_FIRST.index(so_far)):
            worst[tuple(subject)] = state
    return worst


def _series_of(metric: Metric, series: Series) -> list[tuple[Labels, list[float]]]:
    return [(labels, values) for (name, labels), values in series.items() if name == metric.name]
