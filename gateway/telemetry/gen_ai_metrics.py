"""The client metrics of OpenTelemetry's GenAI conventions, beside our own where `telemetry.metrics.gen_ai` is on.

Source: https://github.com/open-telemetry/semantic-conventions-genai (2026-11): its token metrics, which have the
attribute `gen_ai.token.modality`, and tell the tokens billed where a system reports used ones too.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.telemetry.attributes import ProviderAddress, server_of
from gateway.telemetry.exchange import Exchange
from gateway.telemetry.metric import Metric, counter, histogram
from gateway.telemetry.metric_store import Labels, MetricStore
from gateway.telemetry.metrics import NOT_TIMED, LabelAllowlist
from gateway.telemetry.names import OPERATION
from providers.attempts import AttemptRecord

_OPERATION = (
    *("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"),
    *("server.address", "server.port"),
)
_MODALITY = "unknown"
"""No provider tells text from images in what it counts."""

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)

OPERATION_DURATION = histogram(
    "gen_ai.client.operation.duration",
    "Time of one attempt on a provider, as the GenAI conventions count it; cancelled ones are left out.",
    _SECONDS,
    labels=(*_OPERATION, "error.type"),
    unit="s",
)
INPUT_TOKENS = counter(
    "gen_ai.client.inference.usage.input_tokens",
    "Tokens of queries and documents: those billed, where providers tell them.",
    labels=(*_OPERATION, "gen_ai.token.modality"),
    unit="{token}",
)
OUTPUT_TOKENS = counter(
    "gen_ai.client.inference.usage.output_tokens",
    "Tokens that models wrote, where providers count any and do not bill them together with the input's.",
    labels=(*_OPERATION, "gen_ai.token.modality"),
    unit="{token}",
)

GEN_AI_METRICS = {metric.name: metric for metric in list(globals().values()) if isinstance(metric, Metric)}
"""Every metric declared above, by its name."""


class GenAiMetrics:
    """Counts finished requests.

    Args:
        store: where the numbers are kept.
        models: the model names that may be label values; ours must have counted a request before.
        peers: the configured providers, by their names.
    """

    def __init__(self, store: MetricStore, models: LabelAllowlist, peers: Mapping[str, ProviderAddress]) -> None:
        self._store, self._models, self._peers = store, models, peers

    def request_ended(self, exchange: Exchange) -> None:
        """Count a request's attempts, and the tokens of its answer."""
        for attempt in exchange.attempts:
            if attempt.error_type not in NOT_TIMED:
                self._store.observe(OPERATION_DURATION, attempt.end - attempt.start, self.attempt_labels(attempt))
        ranking = exchange.ranking
        if ranking is None or ranking.usage is None:
            return
        served = next((each.address for each in reversed(exchange.attempts) if not each.error_type), "")
        labels = (*self._labels(ranking.provider, ranking.model, served), _MODALITY)
        if tokens := ranking.usage.input_tokens:
            self._store.add(INPUT_TOKENS, labels, tokens)
        if ranking.usage.billed_tokens is None and (written := ranking.usage.completion_tokens):
            self._store.add(OUTPUT_TOKENS, labels, written)

    def attempt_labels(self, attempt: AttemptRecord) -> Labels:
        """The labels of OPERATION_DURATION."""
        return (*self._labels(attempt.provider, attempt.model, attempt.address), attempt.error_type)

    def _labels(self, provider: str, model: str, address: str) -> Labels:
        peer = self._peers.get(provider)
        adapter = provider if peer is None else peer.adapter
        host, port = server_of(address, peer)
        shown = str(port) if port is not None and host else ""
        return (OPERATION, adapter, self._models.label(model), host or "", shown)
