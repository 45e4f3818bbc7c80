"""Exemplars: for each bucket of a latency histogram the last recorded trace whose value fell into it, for Prometheus.

Only requests whose traces are recorded cost anything here. A process keeps its own exemplars, and once a second writes
them beside its metrics, where whichever process answers /metrics finds them.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.telemetry.exchange import Exchange
from gateway.telemetry.gen_ai_metrics import OPERATION_DURATION, GenAiMetrics
from gateway.telemetry.metric import Metric
from gateway.telemetry.metric_store import Key, Labels
from gateway.telemetry.metrics import ATTEMPT_DURATION, DURATION, NOT_TIMED, OVERHEAD, Metrics

MAX_EXEMPLARS = 2000
"""Exemplars that one process keeps; the oldest goes first."""

_SUFFIX = ".exemplars"


class Exemplar(Struct, frozen=True, array_like=True):
    """One value of a histogram, and the span that it is the length of.

    Attributes:
        trace_id, span_id: in hexadecimal.
        time: in seconds since 1970.
    """

    trace_id: str
    span_id: str
    value: float
    time: float


Buckets = dict[int, Exemplar]
"""By the index of the bucket, from the lowest."""

_Rows = list[tuple[str, Labels, int, Exemplar]]
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Rows).decode


class ExemplarStore:
    """The exemplars of this process, and a reader of those of its siblings.

    Args:
        cells: the file of this process's metrics, beside which the exemplars are written; None keeps them in memory.
    """

    def __init__(self, cells: Path | None) -> None:
        self._path = None if cells is None else cells.with_suffix(_SUFFIX)
        self._kept: dict[tuple[str, Labels, int], Exemplar] = {}
        self._is_written = True

    def keep(self, metric: Metric, labels: Labels, value: float, trace_id: int, span_id: int) -> None:
        """Keep an exemplar in place of the one before in its bucket."""
        key = (metric.name, labels, bisect_left(metric.buckets, value))
        self._kept.pop(key, None)
        self._kept[key] = Exemplar(f"{trace_id:032x}", f"{span_id:016x}", value, time.time())
        if len(self._kept) > MAX_EXEMPLARS:
            del self._kept[next(iter(self._kept))]
        self._is_written = False

    def publish(self) -> None:
        """Let the siblings see what is new. A disk that is full costs them the exemplars, and nothing else."""
        if self._is_written or self._path is None:
            return
        self._is_written = True
        new = self._path.with_suffix(_SUFFIX + "-new")
        with suppress(OSError):
            new.write_bytes(_encode(self._rows()))
            os.replace(new, self._path)

    def read(self) -> dict[Key, Buckets]:
        """The newest exemplar of each bucket, over all processes."""
        newest: dict[Key, Buckets] = {}
        for name, labels, bucket, exemplar in [*self._siblings(), *self._rows()]:
            buckets = newest.setdefault((name, labels), {})
            if bucket not in buckets or buckets[bucket].time <= exemplar.time:
                buckets[bucket] = exemplar
        return newest

    def _rows(self) -> _Rows:
        return [(*key, exemplar) for key, exemplar in self._kept.items()]

    def _siblings(self) -> _Rows:
        rows: _Rows = []
        if self._path is not None:
            for path in self._path.parent.glob(f"*{_SUFFIX}"):
                if path != self._path:
                    # A sibling may have ended, and a file from an older version may have another form.
                    with suppress(OSError, msgspec.DecodeError):
                        rows += _decode(path.read_bytes())
        return rows


class RequestExemplars:
    """Takes exemplars from finished requests.

    Args:
        store: where they are kept.
        metrics: has counted each request before, under the same labels.
        gen_ai: the same for the GenAI conventions; None where they are off.
    """

    def __init__(self, store: ExemplarStore, metrics: Metrics, gen_ai: GenAiMetrics | None) -> None:
        self._store, self._metrics, self._gen_ai = store, metrics, gen_ai

    def request_ended(self, exchange: Exchange) -> None:
        """Keep what a request with a recorded trace took, and its attempts."""
        trace = exchange.trace
        if trace is None or not trace.sampled:
            return
        attempts = exchange.attempts
        asked = (self._metrics.model_label(exchange), exchange.outcome)
        self._store.keep(DURATION, asked, exchange.end - exchange.start, trace.trace_id, trace.server_span)
        if attempts:
            self._store.keep(OVERHEAD, (), exchange.overhead, trace.trace_id, trace.server_span)
        for attempt in attempts:
            if attempt.error_type not in NOT_TIMED:
                seconds, span_id = attempt.end - attempt.start, attempt.span_id
                own = self._metrics.attempt_labels(attempt)
                self._store.keep(ATTEMPT_DURATION, own, seconds, trace.trace_id, span_id)
                if self._gen_ai is not None:
                    labels = self._gen_ai.attempt_labels(attempt)
                    self._store.keep(OPERATION_DURATION, labels, seconds, trace.trace_id, span_id)
