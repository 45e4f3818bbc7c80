"""The record of one request, from its headers to its answer. Metrics, spans and the log are made from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from urllib.parse import quote

from msgspec import UNSET, Struct, UnsetType

from gateway.telemetry.context import Trace
from providers.attempts import AttemptRecord
from providers.types import Call, Ranking, RerankRequest


class Exchange(Struct, eq=False):
    """One request, filled in by the endpoint as it is served.

    Attributes:
        dialect: name of the wire format.
        call: what all attempts share; its recorder has the attempts.
        start: when the headers had arrived, in seconds of `time.monotonic()`.
        route: path of the route, without anything that the caller put into it.
        trace: the trace that it is part of; None while tracing is off.
        trace_id: for the log; 0 if neither the gateway nor the caller traces it.
        answer_trace: whether the caller wants a `traceparent` header in the answer.
        caller: name of the caller's key.
        request: the canonical request; None if it could not be decoded.
        document_id: gives the id that the caller wrote beside a document, by the document's index, or None; None where
            there are no ids.
        read: when it had been read and decoded, in seconds of `time.monotonic()`.
        ranking: what was served; None if nothing was.
        status: HTTP status of the answer; 0 while there is none.
        error_type: code of the error; "" on success.
        error: what the caller did wrong, in a sentence; "" for success, and where a target failed.
        bytes_in, bytes_out: lengths of the bodies.
        end: when the answer was complete, in seconds of `time.monotonic()`; 0 until then.
        overhead: seconds that the gateway itself took, without waiting for others.
        cost: US dollars; None if the price is unknown.
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
    document_id: Callable[[int], str | None] | None = None
    read: float = 0.0
    ranking: Ranking | None = None
    status: int = 0
    error_type: str = ""
    error: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    end: float = 0.0
    overhead: float = 0.0
    cost: float | None = None

    @property
    def attempts(self) -> Sequence[AttemptRecord]:
        """Attempts on targets, in the order in which they ended. Names that lead to no target are left out."""
        attempts = self.call.recorder.attempts
        if len(attempts) == 1 and attempts[0].has_target:
            return attempts
        return [attempt for attempt in attempts if attempt.has_target]

    @property
    def recorded_trace_id(self) -> str | UnsetType:
        """The id of the trace in hexadecimal, by which an operator finds its spans; UNSET if none are recorded."""
        trace = self.trace
        return f"{trace.trace_id:032x}" if trace is not None and trace.sampled else UNSET

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
        """Note the answer, which is complete."""
        self.status = status
        self.bytes_out = len(body)
        self.close()

    def close(self) -> None:
        """Note the end of all work for the caller."""
        self.end = monotonic()
        self.overhead = self.end - self.start - covered_seconds(self.call.recorder.waits)

    def headers(self) -> dict[str, str]:
        """Headers that tell the caller how the answer was made. Call `finish` before."""
        headers = {
            "x-gateway-attempts": str(len(self.call.recorder.attempts)),
            "x-gateway-overhead-ms": "%.3f" % (self.overhead * 1000),
        }
        if self.call.ignored:
            headers["x-gateway-ignored"] = ", ".join(quote(name, safe="") for name in self.call.ignored)
        if self.ranking is not None:
            headers["x-gateway-provider"] = header_text(self.ranking.provider)
            headers["x-gateway-model"] = header_text(self.ranking.model)
            if self.request is not None:
                headers["x-gateway-requested-model"] = header_text(self.request.model)
        if self.answer_trace and self.trace is not None:
            headers["traceparent"] = self.trace.traceparent(self.trace.server_span)
        return headers


class AttemptPosition(Struct, frozen=True):
    """Where an attempt stands among those of its request.

    Attributes:
        retry: how many earlier attempts there were on the same target.
        fallback: how many other targets were tried before this one.
        hedged: whether it began while another attempt was still running.
    """

    retry: int
    fallback: int
    hedged: bool


def positions(attempts: Sequence[AttemptRecord]) -> list[tuple[AttemptRecord, AttemptPosition]]:
    """Every attempt, in the order in which they started, with its position among those for the same member."""
    targets_of: dict[str, dict[tuple[str, str], int]] = {}
    busy_until: dict[str, float] = {}
    pairs = []
    for attempt in sorted(attempts, key=_start):
        seen, until = targets_of.setdefault(attempt.member, {}), busy_until.get(attempt.member, 0.0)
        target = (attempt.provider, attempt.model)
        retry = seen.get(target, 0)
        fallback = list(seen).index(target) if retry else len(seen)
        pairs.append((attempt, AttemptPosition(retry, fallback, attempt.start < until)))
        seen[target] = retry + 1
        busy_until[attempt.member] = max(until, attempt.end)
    return pairs


def covered_seconds(intervals: Sequence[tuple[float, float]]) -> float:
    """Length of the union of the intervals."""
    if len(intervals) == 1:
        return intervals[0][1] - intervals[0][0]
    total, until = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def header_text(text: str) -> str:
    """The text as a header value: printable ASCII unchanged, anything else percent-encoded."""
    return text if text.isascii() and text.isprintable() else quote(text, safe=" /:@+,;=~")


def _start(attempt: AttemptRecord) -> float:
    return attempt.start
