"""How fast a target has answered lately: to compare targets, and to know when to hedge."""

from __future__ import annotations

from collections import deque
from math import exp

from gateway.errors import AttemptsSpent, BreakerOpen
from gateway.policy.clock import CLOCK, Clock
from gateway.policy.wrapper import Wrapper
from providers.errors import AnswerTooLarge, CallerError, LimitExceeded, RerankError, TargetTimeout
from providers.types import Backend, Ranking, RerankRequest

EWMA_WEIGHT = 0.2
"""Weight of the newest observation in the moving average."""

DECAY_SECONDS = 10.0
"""Time after which an average without new observations counts for 1/e only, so that a slow target is tried again.

Finagle's peak EWMA has the same default (`decayTime`)."""

FAILURE_SECONDS = 5.0
"""What a refusal counts as: a target that refuses at once is not the fastest. Halved by every call that goes well."""

MAX_SAMPLES = 128
"""The newest observations, from which the 95th percentile is taken."""

MIN_SAMPLES = 20
"""Observations before there is a percentile: with fewer, the 95th is just the slowest."""


class LatencyStats:
    """A moving average and the newest observations, in seconds. Pure: every method takes the time."""

    __slots__ = ("_average", "_failed_at", "_observed_at", "_penalty", "_samples")

    def __init__(self) -> None:
        self._penalty = self._failed_at = 0.0
        self._average = 0.0
        self._observed_at = 0.0
        self._samples: deque[float] = deque(maxlen=MAX_SAMPLES)

    def observe(self, seconds: float, now: float) -> None:
        """Add a call that went well. A rise counts at once, a fall bit by bit (Finagle's peak EWMA)."""
        average = self._average
        self._average = seconds if seconds > average else average + EWMA_WEIGHT * (seconds - average)
        self._observed_at = now
        self._penalty /= 2
        self._samples.append(seconds)

    def observe_failure(self, seconds: float, now: float, timed_out: bool) -> None:
        """Add a call that failed. One that timed out counts as what it took: the caller may have been in a hurry."""
        penalty = seconds if timed_out else max(seconds, FAILURE_SECONDS)
        self._penalty = max(self._decayed(self._penalty, self._failed_at, now), penalty)
        self._failed_at = now

    def load_score(self, now: float) -> float:
        """What to compare targets by: the average, more after failures, decaying in time; 0.0 if not called yet."""
        score = self._decayed(self._average, self._observed_at, now)
        return score + self._decayed(self._penalty, self._failed_at, now) if self._penalty else score

    @staticmethod
    def _decayed(value: float, since: float, now: float) -> float:
        return value * exp((since - now) / DECAY_SECONDS) if value else 0.0

    def p95(self) -> float | None:
        """Seconds within which 95 % of the newest calls were over; None below MIN_SAMPLES."""
        if len(self._samples) < MIN_SAMPLES:
            return None
        return sorted(self._samples)[int(0.95 * len(self._samples))]


class LatencyProbe(Wrapper):
    """Measures how long the calls that go well take, and notes those that do not.

    What says nothing about the target does not count: a request that it cannot take, an answer over our own limit,
    and an open breaker, whose target must come first some time to be probed. Nor does the time that a call which timed
    out spent in our own queues.
    """

    def __init__(self, backend: Backend, latency: LatencyStats, clock: Clock = CLOCK) -> None:
        super().__init__(backend)
        self._latency = latency
        self._clock = clock

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The target's ranking, and its errors, unchanged."""
        start = self._clock.now()
        try:
            ranking = await self.backend.rerank(request)
        except (AnswerTooLarge, AttemptsSpent, BreakerOpen, CallerError, LimitExceeded):
            raise
        except RerankError as error:
            now = self._clock.now()
            self._latency.observe_failure(_waited(error, now - start), now, isinstance(error, TargetTimeout))
            raise
        now = self._clock.now()
        self._latency.observe(now - start, now)
        return ranking


def _waited(error: RerankError, took: float) -> float:
    """Seconds for which the target itself was waited for, as far as that is known."""
    return error.waited if isinstance(error, TargetTimeout) and error.waited is not None else took
