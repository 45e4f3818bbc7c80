"""Keeps the attempts of one request, from which metrics, spans, the log and the caller's `attempts` are made."""

from __future__ import annotations

from time import monotonic

from msgspec import field

from gateway.telemetry.context import Trace, new_span_id
from providers.attempts import AttemptRecord, Recorder, RunningAttempt
from providers.errors import RerankError


class RequestRecorder(Recorder, frozen=True):
    """Keeps every report.

    Attributes:
        trace: the request's trace if it is recorded: each attempt then gets a span, and tells the upstream its id.
    """

    attempts: list[AttemptRecord] = field(default_factory=list)
    waits: list[tuple[float, float]] = field(default_factory=list)
    trace: Trace | None = None

    def begin_attempt(self, provider: str, model: str) -> RunningAttempt:
        attempt = RunningAttempt(self, provider, model, monotonic())
        if self.trace is not None:
            attempt.span_id = new_span_id()
            attempt.headers = {"traceparent": self.trace.traceparent(attempt.span_id)}
        return attempt

    def add_attempt(self, record: AttemptRecord) -> None:
        self.attempts.append(record)

    def add_skip(
        self, provider: str, model: str, error: RerankError, *, has_target: bool = True, member: str = ""
    ) -> None:
        now = monotonic()
        self.attempts.append(
            AttemptRecord(
                provider,
                model,
                start=now,
                end=now,
                error=error.message,
                error_type=error.code,
                span_id=new_span_id() if self.trace is not None else 0,
                has_target=has_target,
                member=member,
            )
        )

    def add_wait(self, start: float, end: float) -> None:
        self.waits.append((start, end))
