"""How fast a target has answered lately."""

from __future__ import annotations

from collections import deque
from math import exp

from gateway.policy.clock import CLOCK, Clock
from gateway.policy.wrapper import Wrapper
from providers.types import Backend, Ranking, RerankRequest

WEIGHT = 0.2
"""Of the newest observation in the moving average."""

FADING = 10.0
"""Seconds after which an average nobody refreshed counts for 1/e: a target that was slow is tried again some time."""

REMEMBERED = 128
"""Observations from which the 95th percentile is taken."""

MIN_SAMPLES = 20
"""Observations before there is a percentile at all."""


class LatencyStats:
    """A moving average and the newest observations, in seconds. Pure: every method takes the time."""

    __slots__ = ("_average", "_newest", "_seen_at")

    def __init__(self) -> None:
        self._average = 0.0
        self._seen_at = 0.0
        self._newest: deque[float] = deque(maxlen=REMEMBERED)

    def observe(self, seconds: float, now: float) -> None:
        """A call that went well took so long. A rise counts at once, a fall bit by bit (Finagle's peak EWMA)."""
        average = self._average
        self._average = seconds if seconds > average else average + WEIGHT * (seconds - average)
        self._seen_at = now
        self._newest.append(seconds)

    def load_score(self, now: float) -> float:
        """What to compare targets by: the average, fading while nobody refreshes it; 0.0 for a target not seen yet."""
        return self._average * exp((self._seen_at - now) / FADING) if self._average else 0.0

    def p95(self) -> float | None:
        """The time within which 95 % of the newest calls were over; None while too few are known."""
        if len(self._newest) < MIN_SAMPLES:
            return None
        return sorted(self._newest)[int(0.95 * len(self._newest))]


class LatencyProbe(Wrapper):
    """Tells a LatencyStats how long the calls that went well took."""

    def __init__(self, backend: Backend, latency: LatencyStats, clock: Clock = CLOCK) -> None:
        super().__init__(backend)
        self._latency = latency
        self._clock = clock

    async def rerank(self, request: RerankRequest) -> Ranking:
        start = self._clock.now()
        ranking = await self.backend.rerank(request)
        now = self._clock.now()
        self._latency.observe(now - start, now)
        return ranking
