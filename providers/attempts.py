"""Attempts: one call of one target, while it runs and once it is over, and the recorder that it is reported to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from msgspec import Struct

from providers.errors import RerankError


class AttemptRecord(Struct, frozen=True):
    """A finished attempt, or one that was skipped. Immutable.

    Attributes:
        provider: the configured name of the provider; "" for a name without one.
        model: the provider's name of the model.
        start, end: seconds of `time.monotonic()`.
        status: the HTTP status that the target answered with; None if it gave none.
        error: what went wrong, in words that a caller may read; None on success.
        error_type: the error's `code`, `internal_error`, or `cancelled`; "" on success.
        key: the configured name of the provider's key that was used.
        span_id: id of its span; 0 if the trace is not recorded.
        details: those of the ranking.
        has_target: False if the name leads to no target. Callers see such an attempt; spans and metrics leave it out.
        cost: US dollars that it cost, or may have cost at most where no answer told; None if unknown.
        parts: the calls that it consists of, where it was more than one call takes; else none.
        documents: of a part: how many documents it had.
        member: for which of the models that the asked one is made of; "" where it is made of none.
        address: host and port of the one that was called, where the provider has several addresses; else "".
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
    cost: float | None = None
    parts: tuple[AttemptRecord, ...] = ()
    documents: int | None = None
    member: str = ""
    address: str = ""

    @property
    def latency(self) -> int:
        """How long it took, in whole milliseconds."""
        return round((self.end - self.start) * 1000)


class AttemptCounter(Struct, eq=False):
    """Counts attempts that are about to be made, and says when there were enough.

    Attributes:
        limit: attempts that may be made; None for no limit of its own.
        count: attempts so far.
        parent: counts these attempts too, among others.
        permit_another: is asked before every attempt but the first, and says whether it may be made.
    """

    limit: int | None = None
    count: int = 0
    parent: AttemptCounter | None = None
    permit_another: Callable[[], Awaitable[bool]] | None = None

    async def take(self) -> bool:
        """Count one attempt. False if it must not be made."""
        if self.limit is not None and self.count >= self.limit:
            return False
        if self.parent is not None and not await self.parent.take():
            return False
        if self.count and self.permit_another is not None and not await self.permit_another():
            return False
        self.count += 1
        return True


class Recorder(Struct, frozen=True, eq=False):
    """Receives what policies and backends report about one request. This one, the default, keeps nothing.

    Concurrent calls of one request share its recorder. Each begins attempts of its own, so none writes into another's.
    A copy of a request that is to leave no trace in the original's record needs a recorder of its own.

    Attributes:
        attempts: finished and skipped attempts, in the order in which they ended.
        waits: periods in which the gateway waited for others, as (start, end) in seconds of `time.monotonic()`.
    """

    attempts: Sequence[AttemptRecord] = ()
    waits: Sequence[tuple[float, float]] = ()

    def begin_attempt(self, provider: str, model: str) -> RunningAttempt:
        """Start an attempt. The caller must call its `finish_all`, whatever happens."""
        return RunningAttempt(self, provider, model, monotonic())

    def add_attempt(self, record: AttemptRecord) -> None:
        """Add a finished attempt."""

    def add_skip(
        self, provider: str, model: str, error: RerankError, *, has_target: bool = True, member: str = ""
    ) -> None:
        """Add an attempt that was not made: the target was not called, for the reason that the error gives."""

    def add_wait(self, start: float, end: float) -> None:
        """Add a period in which the gateway waited for others, in seconds of `time.monotonic()`."""


class RunningAttempt(Struct, eq=False):
    """An attempt in progress. Only the call that began it may write to it.

    Attributes:
        recorder: receives the record when the attempt is over.
        provider, model, start, key, span_id, address: as in AttemptRecord.
        headers: headers of this attempt alone, which replace the call's of the same name; None if there are none.
        siblings: further attempts that the same call of the target made, with other keys or at the same time.
        is_over: whether it has been recorded.
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
    address: str = ""

    def with_key(self, key: str) -> RunningAttempt:
        """The attempt to make with this key: this one if it has no key yet, else a sibling that starts now.

        The next key of a pool, or a concurrent call, thus never overwrites what an earlier one has noted.
        """
        if not self.key:
            self.key = key
            return self
        sibling = self.recorder.begin_attempt(self.provider, self.model)
        sibling.key, sibling.address = key, self.address
        self.siblings += (sibling,)
        return sibling

    def finish(
        self,
        status: int | None,
        error: str | None = None,
        error_type: str = "",
        details: dict[str, Any] | None = None,
        cost: float | None = None,
        parts: tuple[AttemptRecord, ...] = (),
    ) -> None:
        """Record this attempt. Call it once."""
        self.is_over = True
        # Positional, because keywords would cost as much again on every request.
        self.recorder.add_attempt(
            AttemptRecord(
                self.provider, self.model, self.start, monotonic(), status, error, error_type, self.key, self.span_id,
                details, True, cost, parts, None, "", self.address,
            )
        )  # fmt: skip

    def finish_all(
        self,
        status: int | None,
        error: str | None = None,
        error_type: str = "",
        details: dict[str, Any] | None = None,
        cost: float | None = None,
    ) -> None:
        """Record this attempt and its siblings, except those that are recorded already."""
        if not self.is_over:
            self.finish(status, error, error_type, details, cost)
        for sibling in self.siblings:
            if not sibling.is_over:
                sibling.finish(status, error, error_type, details, cost)
