"""What is known of each call of a target, while it runs and when it is over, and to whom it is reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

from msgspec import Struct

from providers.errors import RerankError


class AttemptRecord(Struct, frozen=True):
    """One call of a target that is over, or that was not made. Never changes.

    Attributes:
        provider: the configured name of the provider; "" for a name without one.
        model: the provider's name of the model.
        start, end: seconds of `time.monotonic()`.
        status: the HTTP status that the target answered with; None if it gave none.
        error: what went wrong, as a caller may read it; None on success.
        error_type: the error's `code`, `internal_error`, or `cancelled`; "" on success.
        key: the configured name of the provider's key that was used.
        span_id: of its span; 0 where the request is not traced.
        details: the ranking's.
        has_target: False where the name leads to no target. Callers are told of it; it has no span and no metric.
    """

    provider: str
    model: str
    start: float
    end: float
    status: int | None = None
    error: str | None = None
    error_type: str = ""
    key: str = ""
    span_id: int = 0
    details: dict[str, Any] | None = None
    has_target: bool = True

    @property
    def latency(self) -> int:
        """Whole milliseconds."""
        return round((self.end - self.start) * 1000)


class Recorder(Struct, frozen=True, eq=False):
    """To whom policies and backends report what they do for one request. This one keeps nothing.

    Calls of one request that run at the same time share its recorder: nothing here depends on which of them reports
    first. Who must not be seen in the request's own record, as a copy of it would, is given a recorder of its own.

    Attributes:
        attempts: every attempt that is over, in the order of their ends.
        waits: when the gateway waited for somebody else: (start, end) in seconds of `time.monotonic()`.
    """

    attempts: Sequence[AttemptRecord] = ()
    waits: Sequence[tuple[float, float]] = ()

    def begin_attempt(self, provider: str, model: str) -> RunningAttempt:
        """An attempt that begins now. Whoever begins it calls `finish_all`, however it ends."""
        return RunningAttempt(self, provider, model, monotonic())

    def add_attempt(self, record: AttemptRecord) -> None:
        """A call of a target is over."""

    def add_skip(self, provider: str, model: str, error: RerankError, *, has_target: bool = True) -> None:
        """A target was not called, for the reason that the error gives."""

    def add_wait(self, start: float, end: float) -> None:
        """The gateway waited for somebody else, from `start` to `end`."""


class RunningAttempt(Struct, eq=False):
    """One call of a target while it runs.

    Attributes:
        recorder: is told when it is over.
        provider, model, start, key, span_id: as in AttemptRecord.
        headers: sent with this attempt, beside and in place of the call's; None where there are none.
        siblings: attempts that the same call of the target made beside this one, or after it.
        is_over: it has been recorded.
    """

    recorder: Recorder
    provider: str
    model: str
    start: float
    span_id: int = 0
    headers: Mapping[str, str] | None = None
    key: str = ""
    siblings: tuple[RunningAttempt, ...] = ()
    is_over: bool = False

    def with_key(self, key: str) -> RunningAttempt:
        """The attempt that uses this key: this one if it has none yet, else a sibling that begins now.

        So neither the next key of a pool nor a call made at the same time writes into what another one left here.
        """
        if not self.key:
            self.key = key
            return self
        sibling = self.recorder.begin_attempt(self.provider, self.model)
        sibling.key = key
        self.siblings += (sibling,)
        return sibling

    def finish(
        self, status: int | None, error: str | None = None, error_type: str = "", details: dict[str, Any] | None = None
    ) -> None:
        """Record it. Called once."""
        self.is_over = True
        # By position: names would cost as much again, on every request.
        self.recorder.add_attempt(
            AttemptRecord(
                self.provider, self.model, self.start, monotonic(), status, error, error_type, self.key, self.span_id,
                details,
            )
        )  # fmt: skip

    def finish_all(
        self, status: int | None, error: str | None = None, error_type: str = "", details: dict[str, Any] | None = None
    ) -> None:
        """Record this attempt and its siblings, those that still run."""
        if not self.is_over:
            self.finish(status, error, error_type, details)
        for sibling in self.siblings:
            if not sibling.is_over:
                sibling.finish(status, error, error_type, details)
