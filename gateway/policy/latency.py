"""How fast a target has answered lately: to compare targets, and to know when to hedge."""

from __future__ import annotations

from collections import deque
from math import exp

from gateway.policy.clock import CLOCK, Clock
from gateway.policy.wrapper import Wrapper
from providers.types import Backend, Ranking, RerankRequest

EWMA_WEIGHT = 0.2
"""Weight of the newest observation in the moving average."""

DECAY_SECONDS = 10.0
"""Time after which an average without new observations counts for 1/e only, so that a slow target is tried again.

Finagle's peak EWMA has the same default (`decayTime`)."""

MAX_SAMPLES = 128
"""The newest observations, from which the 95th percentile is taken."""

MIN_SAMPLES = 20
"""Observations before there is a percentile: with fewer, the 95th is just the slowest."""


class LatencyStats:
    """A moving average and the newest observations, in seconds. Pure: every method takes the time."""

    __slots__ = ("_average", "_observed_at", "_samples")

    def __init__(self) -> None:
        self._average = 0.0
        self._observed_at = 0.0
        self._samples: deque[float] = deque(maxlen=MAX_SAMPLES)

    def observe(self, seconds: float, now: float) -> None:
        """Add a call that went well. A rise counts at once, a fall bit by bit (Finagle's peak EWMA)."""
        average = self._average
        self._average = seconds if seconds > average else average + EWMA_WEIGHT * (seconds - average)
        self._observed_at = now
        self._samples.append(seconds)

    def load_score(self, now: float) -> float:
        """What to compare targets by: the average, decaying without new calls; 0.0 for a target not called yet."""
        return self._average * exp((self._observed_at - now) / DECAY_SECONDS) if self._average else 0.0

    def p95(self) -> float | None:
        """Seconds within which 95 % of the newest calls were over; None below MIN_SAMPLES."""
        if len(self._samples) < MIN_SAMPLES:
            return None
        return sorted(self._samples)[int(0.95 * len(self._samples))]


class LatencyProbe(Wrapper):
    """Measures how long the calls that go well take."""

    def __init__(self, backend: Backend, latency: LatencyStats, clock: Clock = CLOCK) -> None:
        super().__init__(backend)
        self._latency = latency
        self._clock = clock

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The target's ranking, and its errors, unchanged."""
        start = self._clock.now()
        ranking = await self.backend.rerank(request)
        now = self._clock.now()
        self._latency.observe(now - start, now)
        return ranking
