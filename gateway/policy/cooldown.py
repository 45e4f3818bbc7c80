"""How long something rests after it failed: longer each time, and never shorter than it was already told."""

from __future__ import annotations

BASE_SECONDS = 30.0
"""Seconds of the first rest; the n-th is n times as long (Envoy's base_ejection_time)."""

MAX_SECONDS = 300.0
"""Seconds; no rest that we choose is longer (Envoy's max_ejection_time)."""


class Cooldown:
    """A pure state machine: every method takes the time.

    Attributes:
        until: when the rest is over, in the clock's seconds; 0.0 while nothing ever rested.
        times: how many rests count towards the length of the next; forgets one per `base` seconds without a rest.
    """

    __slots__ = ("base", "longest", "times", "until")

    def __init__(self, base: float = BASE_SECONDS, longest: float = MAX_SECONDS) -> None:
        self.base = base
        self.longest = longest
        self.until = 0.0
        self.times = 0

    def start(self, now: float, at_least: float = 0.0) -> float:
        """Rest for `base` x times, up to `longest`, and at least for `at_least`. Returns the seconds from now on."""
        if self.until:
            self.times = max(0, self.times - int(max(0.0, now - self.until) / self.base))
        self.times += 1
        return self.extend(now, max(min(self.base * self.times, self.longest), at_least))

    def extend(self, now: float, seconds: float) -> float:
        """Rest for so many seconds, unless the rest is longer already. Returns the seconds from now on."""
        self.until = max(self.until, now + seconds)
        return self.until - now

    def end(self, now: float) -> None:
        """Rest no longer; what was learnt about the length of the next rest stays."""
        self.until = min(self.until, now)

    def left(self, now: float) -> float:
        """Seconds of rest to go; 0.0 when there is none."""
        return max(0.0, self.until - now)
