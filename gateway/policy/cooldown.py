"""How long to leave something alone after it failed: longer each time, or as it asked for, but never for ever."""

from __future__ import annotations

BASE_SECONDS = 30.0
"""Length of the first cooldown; the n-th is n times as long (Envoy's outlier detection: base_ejection_time)."""

MAX_SECONDS = 300.0
"""Upper bound of every cooldown (Envoy's outlier detection: max_ejection_time). Then it is tried again."""


class Cooldown:
    """A pure state machine: every method takes the time.

    Attributes:
        until: when the cooldown is over, in the clock's seconds; 0.0 before the first one.
        count: how many cooldowns count towards the length of the next; falls by one for every `base_seconds` without.
    """

    __slots__ = ("base_seconds", "count", "max_seconds", "until")

    def __init__(self, base_seconds: float = BASE_SECONDS, max_seconds: float = MAX_SECONDS) -> None:
        self.base_seconds = base_seconds
        self.max_seconds = max_seconds
        self.until = 0.0
        self.count = 0

    def start(self, now: float, at_least: float = 0.0) -> float:
        """Cool down for `base_seconds` x `count`, or for `at_least` seconds if that is more; up to `max_seconds`.

        Returns:
            Seconds from now until it is over.
        """
        if self.until:
            self.count = max(0, self.count - int(max(0.0, now - self.until) / self.base_seconds))
        self.count += 1
        return self.extend(now, max(self.base_seconds * self.count, at_least))

    def extend(self, now: float, seconds: float) -> float:
        """Cool down for so many seconds, up to `max_seconds`, or longer if that was so already.

        Returns:
            Seconds from now until it is over.
        """
        self.until = max(self.until, now + min(seconds, self.max_seconds))
        return self.until - now

    def end(self, now: float) -> None:
        """End it now. How often it happened still counts for the length of the next."""
        self.until = min(self.until, now)

    def left(self, now: float) -> float:
        """Seconds until it is over; 0.0 if it is."""
        return max(0.0, self.until - now)
