"""The record of one request's attempts, which metrics, spans, the log and the caller's answer are made from."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic

from gateway.telemetry.context import Trace, new_span_id
from providers.attempts import AttemptRecord, Recorder
from providers.errors import RerankError


class RequestRecorder(Recorder):
    """Keeps what it is told.

    Args:
        trace: the request's, if it is recorded: every attempt then has a span, and names it to the upstream.
    """

    __slots__ = ("_trace", "attempts", "waits")

    def __init__(self, trace: Trace | None = None) -> None:
        self._trace = trace
        self.attempts: list[AttemptRecord] = []
        self.waits: list[tuple[float, float]] = []

    def start_span(self) -> tuple[int, Mapping[str, str] | None]:
        trace = self._trace
        if trace is None:
            return 0, None
        span_id = new_span_id()
        return span_id, {"traceparent": trace.traceparent(span_id)}

    def add_attempt(self, record: AttemptRecord) -> None:
        self.attempts.append(record)

    def add_skip(self, provider: str, model: str, error: RerankError, *, has_target: bool = True) -> None:
        now = monotonic()
        self.attempts.append(
            AttemptRecord(
                provider=provider,
                model=model,
                start=now,
                end=now,
                error=error.message,
                error_type=error.code,
                span_id=self.start_span()[0],
                has_target=has_target,
            )
        )

    def add_wait(self, start: float, end: float) -> None:
        self.waits.append((start, end))
