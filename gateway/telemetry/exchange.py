"""One request from its headers to its answer: the record that every observer reads when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from urllib.parse import quote

from msgspec import Struct

from gateway.telemetry.context import Trace
from providers.attempts import AttemptRecord
from providers.types import Call, Ranking, RerankRequest


class Exchange(Struct, eq=False):
    """What the endpoint learns, as it learns it.

    Attributes:
        dialect: the wire format's name.
        call: what all attempts share.
        start: seconds of `time.monotonic()`.
        route: the path as it is served.
        trace: where it belongs; None while nothing traces.
        trace_id: for the log; 0 without a trace here or at the caller.
        answer_trace: whether the caller wants a `traceparent` back.
        caller: the name of the caller's key.
        request: canonical; None if it could not be read.
        read: when it had been read and decoded, like `start`.
        ranking: what was served; None if nothing was.
        status: of the answer; 0 while there is none.
        error_type: the error's code; "" on success.
        bytes_in, bytes_out: lengths of the bodies.
        end: when the answer was complete; 0 until then.
        overhead: seconds of the gateway's own.
        cost: US dollars, if the price is known.
    """

    dialect: str
    call: Call
    start: float
    route: str = ""
    trace: Trace | None = None
    trace_id: int = 0
    answer_trace: bool = False
    caller: str = ""
    request: RerankRequest | None = None
    read: float = 0.0
    ranking: Ranking | None = None
    status: int = 0
    error_type: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    end: float = 0.0
    overhead: float = 0.0
    cost: float | None = None

    @property
    def attempts(self) -> Sequence[AttemptRecord]:
        """The attempts on targets, in the order of their ends."""
        attempts = self.call.recorder.attempts
        if len(attempts) == 1 and attempts[0].has_target:
            return attempts
        return [attempt for attempt in attempts if attempt.has_target]

    @property
    def outcome(self) -> str:
        """`ok`, `error`, or `cancelled` when the caller went before there was an answer."""
        if self.status == 0:
            return "cancelled"
        return "ok" if self.status < 400 else "error"

    @property
    def degraded(self) -> bool:
        """Whether a passthrough answered in place of a model."""
        ranking = self.ranking
        return ranking is not None and ranking.details is not None and bool(ranking.details.get("degraded"))

    def finish(self, status: int, body: bytes) -> None:
        """The answer is made."""
        self.status = status
        self.bytes_out = len(body)
        self.close()

    def close(self) -> None:
        """Nothing more will be done for the caller."""
        self.end = monotonic()
        self.overhead = self.end - self.start - covered(self.call.recorder.waits)

    def headers(self) -> dict[str, str]:
        """What the answer's headers tell of how it came about. Needs `finish`."""
        headers = {
            "x-gateway-attempts": str(len(self.call.recorder.attempts)),
            "x-gateway-overhead-ms": "%.3f" % (self.overhead * 1000),
        }
        if self.ranking is not None:
            headers["x-gateway-provider"] = visible(self.ranking.provider)
            headers["x-gateway-model"] = visible(self.ranking.model)
        if self.answer_trace and self.trace is not None:
            headers["traceparent"] = self.trace.traceparent(self.trace.server_span)
        return headers


class AttemptPosition(Struct, frozen=True):
    """Where an attempt stands in its request: the count of earlier attempts on its target, of earlier targets, and
    whether it began while another was still running."""

    retry: int
    fallback: int
    hedged: bool


def places(attempts: Sequence[AttemptRecord]) -> list[tuple[AttemptRecord, AttemptPosition]]:
    """Every attempt in the order of their starts, with its position."""
    seen: dict[tuple[str, str], int] = {}
    placed = []
    busy_until = 0.0
    for attempt in sorted(attempts, key=_start):
        target = (attempt.provider, attempt.model)
        retry = seen.get(target, 0)
        fallback = list(seen).index(target) if retry else len(seen)
        placed.append((attempt, AttemptPosition(retry, fallback, attempt.start < busy_until)))
        seen[target] = retry + 1
        busy_until = max(busy_until, attempt.end)
    return placed


def covered(intervals: Sequence[tuple[float, float]]) -> float:
    """The seconds that lie in at least one of the intervals."""
    if len(intervals) == 1:
        return intervals[0][1] - intervals[0][0]
    total, until = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def visible(text: str) -> str:
    """The text as a header may carry it: printable ASCII, the rest percent-encoded."""
    return text if text.isascii() and text.isprintable() else quote(text, safe=" /:@+,;=~")


def _start(attempt: AttemptRecord) -> float:
    return attempt.start
