"""Every metric, and the code that counts it. To add one, declare it here and count it below.

Queues, breakers and keys are not counted but read once a second, by `gateway.runtime.instruments`. The table in
docs/observability.md is generated from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import version

from gateway.telemetry.exchange import AttemptPosition, Exchange, positions
from gateway.telemetry.metric import Metric, counter, gauge, histogram
from gateway.telemetry.metric_store import Labels, MetricStore
from gateway.telemetry.names import OTHER
from gateway.telemetry.shadows import ShadowOutcome
from providers.attempts import AttemptRecord
from providers.errors import Overloaded, RateLimited
from providers.types import Ranking, Usage

_TARGET = ("provider", "model")
_SHADOW = ("model", "candidate")
_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_OVERHEAD_SECONDS = (50e-6, 100e-6, 150e-6, 250e-6, 500e-6, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_COUNTS = (1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 10000.0)
_TENTHS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_BYTES = (1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0)

REQUESTS = counter(
    "rerank_gateway.requests",
    "Finished requests. `provider` served, or was tried first; `outcome` is ok, error or cancelled.",
    labels=("dialect", "model", "provider", "outcome", "error_type"),
)
DURATION = histogram(
    "rerank_gateway.request.duration",
    "Time from a request's headers to its answer.",
    _REQUEST_SECONDS,
    labels=("model", "outcome"),
    unit="s",
)
OVERHEAD = histogram(
    "rerank_gateway.overhead",
    "The gateway's own time in a request that reached a target, without the target's and waits for a retry.",
    _OVERHEAD_SECONDS,
    unit="s",
)
ATTEMPTS = counter(
    "rerank_gateway.attempts",
    "Attempts on targets. `outcome` is ok, error, cancelled, or skipped by an open breaker.",
    labels=(*_TARGET, "outcome", "error_type"),
)
ATTEMPT_DURATION = histogram(
    "rerank_gateway.attempt.duration",
    "Time of one attempt, successful or not; cancelled ones are left out.",
    _REQUEST_SECONDS,
    labels=_TARGET,
    unit="s",
)
RETRIES = counter(
    "rerank_gateway.retries", "Attempts on a target that had failed in the same request.", labels=("provider",)
)
FALLBACKS = counter(
    "rerank_gateway.fallbacks.served",
    "Requests served by another target than the first.",
    labels=("model", "provider"),
)
HEDGES = counter(
    "rerank_gateway.hedges",
    "Attempts that ran beside an earlier one of the same request; `outcome` is won or lost.",
    labels=("provider", "outcome"),
)
DEGRADED_ANSWERS = counter(
    "rerank_gateway.degraded.answers", "Answers that a passthrough gave in the caller's own order.", labels=("model",)
)
SLO_REQUESTS = counter(
    "rerank_gateway.slo.requests",
    "Requests that were answered, or failed by no fault of the caller. Callers' faults and cancellations do not count.",
    labels=("model",),
)
SLO_FAILURES = counter(
    "rerank_gateway.slo.failures",
    "Those of them that failed: a 5xx, or a target or the gateway that takes no more (overloaded, rate_limited).",
    labels=("model",),
)
IN_FLIGHT = gauge("rerank_gateway.in_flight", "Requests that are being answered.")
DOCUMENT_COUNT = histogram("rerank_gateway.request.documents", "Documents of a request.", _COUNTS)
REQUEST_BYTES = histogram("rerank_gateway.request.size", "Bytes of a request body.", _BYTES, unit="By")
ANSWER_BYTES = histogram("rerank_gateway.response.size", "Bytes of an answer's body.", _BYTES, unit="By")
TOKENS = counter(
    "rerank_gateway.tokens",
    "Tokens that providers bill, where they say so, else `total_tokens`, else `prompt_tokens`.",
    labels=_TARGET,
)
SEARCH_UNITS = counter("rerank_gateway.search_units", "Search units that providers counted.", labels=_TARGET)
COST = counter(
    "rerank_gateway.cost.usd",
    "US dollars by the price table; answers without a known price add nothing.",
    labels=_TARGET,
)
TARGET_STATE = gauge(
    "rerank_gateway.target.state",
    "Workers whose breaker for the target is in that state: closed, open or half_open.",
    labels=(*_TARGET, "state"),
)
KEY_STATE = gauge(
    "rerank_gateway.key.state",
    "Workers in which the provider's key is in that state: ok, cooling or rejected.",
    labels=("provider", "key", "state"),
)
QUEUE_TOKENS = gauge("rerank_gateway.local.queue.tokens", "Tokens that wait in the local engine.", labels=_TARGET)
BATCHES = counter("rerank_gateway.local.batches", "Batches that the local engine computed.", labels=_TARGET)
BATCH_TEXTS = counter(
    "rerank_gateway.local.batch.texts",
    "Texts in those batches; over the batches, the mean batch size.",
    labels=_TARGET,
)
BATCH_TOKENS = counter("rerank_gateway.local.batch.tokens", "Tokens in those batches, without padding.", labels=_TARGET)
BATCH_PADDING = counter(
    "rerank_gateway.local.batch.padding",
    "Padding in those batches, in tokens; over padding and tokens, the padding share.",
    labels=_TARGET,
)
VECTOR_LOOKUPS = counter(
    "rerank_gateway.local.vector_cache.lookups",
    "Texts whose vectors the local engine looked up; `outcome` is hit or miss.",
    labels=(*_TARGET, "outcome"),
)
VECTOR_BYTES = gauge(
    "rerank_gateway.local.vector_cache.size", "Memory of the vectors that are kept.", labels=_TARGET, unit="By"
)
CACHE_DOCUMENTS = counter(
    "rerank_gateway.cache.documents",
    "Documents that were looked up in the cache of scores; `outcome` is hit or miss.",
    labels=(*_TARGET, "outcome"),
)
CACHE_TOKENS = counter(
    "rerank_gateway.cache.tokens.saved", "Tokens of those found, as far as providers count.", labels=_TARGET
)
CACHE_COST = counter(
    "rerank_gateway.cache.cost.saved.usd", "US dollars of those found, as far as known.", labels=_TARGET
)
CACHE_BYTES = gauge("rerank_gateway.cache.size", "Memory of the scores that are kept.", unit="By")
CACHE_FAILURES = counter("rerank_gateway.cache.failures", "Times that the server of a shared cache could not be asked.")
TRUNCATED_DOCUMENTS = counter(
    "rerank_gateway.documents.truncated", "Documents cut to fit a model's window.", labels=_TARGET
)
STORE_FAILURES = counter(
    "rerank_gateway.store.failures", "Times that the store of limits and budgets could not be asked."
)
SHADOW_CALLS = counter(
    "rerank_gateway.shadow.calls",
    "Calls of a candidate beside a model; `outcome` is ok, error, or dropped for want of room.",
    labels=(*_SHADOW, "outcome", "error_type"),
)
SHADOW_DURATION = histogram(
    "rerank_gateway.shadow.duration",
    "Time that candidates took, successful or not.",
    _REQUEST_SECONDS,
    labels=_SHADOW,
    unit="s",
)
SHADOW_OVERLAP = histogram(
    "rerank_gateway.shadow.overlap",
    "Share of the first ten results that the candidate and the answer have in common.",
    _TENTHS,
    labels=_SHADOW,
)
SHADOW_DISCORDANCE = histogram(
    "rerank_gateway.shadow.discordance",
    "Share of the pairs of documents that the two order differently; Kendall's tau is 1 - 2 times this.",
    _TENTHS,
    labels=_SHADOW,
)
SHADOW_TOP_CHANGES = counter(
    "rerank_gateway.shadow.top.changes", "Rankings of a candidate whose first result is another one.", labels=_SHADOW
)
SHADOW_COST = counter("rerank_gateway.shadow.cost.usd", "US dollars that candidates cost.", labels=_SHADOW)
CANARY_CHECKS = counter(
    "rerank_gateway.canary.checks",
    "Scorings of a target's canary texts; `outcome` is ok or error.",
    labels=(*_TARGET, "outcome"),
)
CANARY_STATE = gauge(
    "rerank_gateway.canary.state",
    "1 for the state that a target's canary is in: unknown, steady, or moved when its scores have changed.",
    labels=(*_TARGET, "state"),
)
CANARY_DRIFT = gauge(
    "rerank_gateway.canary.drift",
    "How far the score that moved most has moved since the first check, as a share of the range of the first scores.",
    labels=_TARGET,
)
RELOADS = counter(
    "rerank_gateway.config.reloads", "Configurations read again; `outcome` is ok or rejected.", labels=("outcome",)
)
INFO = gauge("rerank_gateway.info", "Workers of that version that run.", labels=("version",))

METRICS = {metric.name: metric for metric in list(globals().values()) if isinstance(metric, Metric)}
"""Every metric declared above, by its name."""

PER_MODEL_ALERTS = (SLO_REQUESTS, SLO_FAILURES, DEGRADED_ANSWERS)
"""The counters that alerts watch for each model that callers name."""

MAX_LEARNED_NAMES = 100
"""Model names that become label values because a target served them, beside those of the configuration."""

NOT_TIMED = frozenset({"cancelled", "breaker_open"})
"""Errors of attempts whose duration says nothing about the target."""

_REFUSED_FOR_LOAD = frozenset({Overloaded.code, RateLimited.code})
"""A 429 with one of these says that a target or the gateway takes no more; else, that the caller asked too much."""

_OUTCOMES = {"": "ok", "cancelled": "cancelled", "breaker_open": "skipped"}
_ONLY_ATTEMPT = AttemptPosition(0, 0, False)


class LabelAllowlist:
    """The bounded set of model names that may be label values, so that callers cannot invent time series.

    These are the names in the configuration and the first MAX_LEARNED_NAMES others that a target has served.
    """

    def __init__(self, configured: Iterable[str] = ()) -> None:
        self._configured = frozenset(configured)
        self._learned: set[str] = set()

    def configure(self, configured: Iterable[str]) -> None:
        """Replace the configured names, after a reload. Learned ones stay."""
        self._configured = frozenset(configured)

    def label(self, name: str) -> str:
        """The name if it is in the set, else `_other`."""
        return name if name in self._configured or name in self._learned else OTHER

    def learn(self, name: str) -> str:
        """The label of a name that a target has just served: added to the set while there is room."""
        if name in self._configured or name in self._learned:
            return name
        if len(self._learned) >= MAX_LEARNED_NAMES:
            return OTHER
        self._learned.add(name)
        return name


class Metrics:
    """Counts what happens in this process.

    Args:
        store: where the numbers are kept.
        models: the model names that may be label values.
    """

    def __init__(self, store: MetricStore, models: LabelAllowlist) -> None:
        self._store, self._models = store, models

    def set_worker_info(self, *, running: bool) -> None:
        """Say whether this process is a worker that answers requests."""
        self._store.set(INFO, (version("rerank-gateway"),), float(running))

    def count_reload(self, outcome: str) -> None:
        """Count a configuration that was read again: `ok` if it is in force now, else `rejected`."""
        self._store.add(RELOADS, (outcome,))

    def count_store_failure(self) -> None:
        """Count a failure to ask the store of limits and budgets."""
        self._store.add(STORE_FAILURES)

    def count_shadow(self, outcome: ShadowOutcome) -> None:
        """Count what became of a shadow call: how long it took, and how far it agrees with the answer."""
        store, labels = self._store, (outcome.model, outcome.candidate)
        store.add(SHADOW_CALLS, (*labels, outcome.outcome, outcome.error_type))
        if outcome.outcome == "dropped":
            return
        store.observe(SHADOW_DURATION, outcome.seconds, labels)
        store.add(SHADOW_COST, labels, outcome.cost or 0.0)
        if outcome.agreement is not None:
            store.observe(SHADOW_OVERLAP, outcome.agreement.overlap, labels)
            store.add(SHADOW_TOP_CHANGES, labels, float(not outcome.agreement.has_same_top))
            if outcome.agreement.discordance is not None:
                store.observe(SHADOW_DISCORDANCE, outcome.agreement.discordance, labels)

    def create_series(self, models: Iterable[str]) -> None:
        """Let what alerts and autoscalers watch exist at 0: what begins at 1 has not increased for Prometheus, and an
        autoscaler that lacks a metric takes no pod away.

        Args:
            models: every name of a model in the configuration.
        """
        for model in {*models, OTHER, ""}:
            for metric in PER_MODEL_ALERTS:
                self._store.add(metric, (model,), 0.0)
        for outcome in ("ok", "rejected"):
            self._store.add(RELOADS, (outcome,), 0.0)
        self._store.add(STORE_FAILURES, (), 0.0)
        self._store.add(IN_FLIGHT, (), 0.0)
        self._store.start_at_zero(OVERHEAD)

    def request_started(self) -> None:
        """Count a request whose headers are there. `request_ended` must follow."""
        self._store.add(IN_FLIGHT)

    def request_ended(self, exchange: Exchange) -> None:
        """Count a request that is over, with its attempts and what it used."""
        store = self._store
        store.add(IN_FLIGHT, (), -1.0)
        ranking, attempts = exchange.ranking, exchange.attempts
        model = self.model_label(exchange)
        provider = ranking.provider if ranking else attempts[0].provider if attempts else ""
        outcome = exchange.outcome
        store.add(REQUESTS, (exchange.dialect, model, provider, outcome, exchange.error_type))
        self._count_objectives(exchange, model, outcome)
        store.observe(DURATION, exchange.end - exchange.start, (model, outcome))
        store.observe(REQUEST_BYTES, exchange.bytes_in)
        if exchange.status:
            store.observe(ANSWER_BYTES, exchange.bytes_out)
        if exchange.request is not None:
            store.observe(DOCUMENT_COUNT, len(exchange.request.documents))
        if attempts:
            store.observe(OVERHEAD, exchange.overhead)
            self._count_attempts(attempts)
        if ranking is not None:
            self._count_ranking(exchange, ranking, attempts, model)

    def _count_objectives(self, exchange: Exchange, model: str, outcome: str) -> None:
        failed = exchange.status >= 500 or exchange.error_type in _REFUSED_FOR_LOAD
        if failed or outcome == "ok":
            labels = (model,)
            self._store.add(SLO_REQUESTS, labels)
            # Counting 0 as well starts the series of a name that is not in the configuration.
            self._store.add(SLO_FAILURES, labels, float(failed))
            self._store.add(DEGRADED_ANSWERS, labels, float(exchange.degraded))

    def model_label(self, exchange: Exchange) -> str:
        """The label of the model that the caller asked for: learned only if the first target served it."""
        if exchange.request is None:
            return ""
        name = exchange.request.model
        # What a fallback served says nothing about the name that the caller wrote: it may be an invented one.
        return self._models.learn(name) if _first_served(exchange) else self._models.label(name)

    def attempt_labels(self, attempt: AttemptRecord) -> Labels:
        """The labels of ATTEMPT_DURATION."""
        return (attempt.provider, self._models.label(attempt.model))

    def _count_attempts(self, attempts: Sequence[AttemptRecord]) -> None:
        if len(attempts) == 1:
            self._count_attempt(attempts[0], _ONLY_ATTEMPT)
            return
        for attempt, position in positions(attempts):
            self._count_attempt(attempt, position)
            if position.retry and not position.hedged:
                self._store.add(RETRIES, (attempt.provider,))
            if position.hedged:
                self._store.add(HEDGES, (attempt.provider, "lost" if attempt.error_type else "won"))

    def _count_attempt(self, attempt: AttemptRecord, position: AttemptPosition) -> None:
        error = attempt.error_type
        model = self._models.label(attempt.model) if error else self._models.learn(attempt.model)
        outcome = _OUTCOMES.get(error, "error")
        self._store.add(ATTEMPTS, (attempt.provider, model, outcome, error))
        if error not in NOT_TIMED:
            self._store.observe(ATTEMPT_DURATION, attempt.end - attempt.start, (attempt.provider, model))

    def _count_ranking(
        self, exchange: Exchange, ranking: Ranking, attempts: Sequence[AttemptRecord], model: str
    ) -> None:
        target = (ranking.provider, self._models.label(ranking.model))
        if ranking.usage is not None:
            self._count_usage(ranking.usage, target)
        if exchange.cost:
            self._store.add(COST, target, exchange.cost)
        if len(exchange.call.recorder.attempts) > 1 and not _first_served(exchange):
            self._store.add(FALLBACKS, (model, ranking.provider))
        if ranking.details is not None and (truncated := ranking.details.get("truncated_documents")):
            self._store.add(TRUNCATED_DOCUMENTS, target, truncated)

    def _count_usage(self, usage: Usage, target: Labels) -> None:
        if tokens := usage.charged_tokens:
            self._store.add(TOKENS, target, tokens)
        if usage.search_units:
            self._store.add(SEARCH_UNITS, target, usage.search_units)


def _first_served(exchange: Exchange) -> bool:
    """Whether the first target that was tried gave the answer."""
    if exchange.ranking is None:
        return False
    attempts = exchange.call.recorder.attempts
    if len(attempts) < 2:
        return True
    if any(attempt.member for attempt in attempts):
        # A model that is made of others has served as itself, or not at all.
        return exchange.request is not None and exchange.ranking.alias == exchange.request.model
    winner = next((attempt for attempt in reversed(attempts) if attempt.error is None), attempts[0])
    return (attempts[0].provider, attempts[0].model) == (winner.provider, winner.model)
