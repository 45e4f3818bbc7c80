"""Circuit breaker: stop calling a target that keeps failing, then let one call find out whether it is back.

Failures in a row, and the length of ejections, follow Envoy's outlier detection (outlier_detection.proto:
consecutive_5xx, base_ejection_time, max_ejection_time).
"""

from __future__ import annotations

import logging
from typing import Self

from pydantic import Field, model_validator

from gateway.errors import BreakerOpen
from gateway.policy.clock import CLOCK, Clock
from gateway.policy.cooldown import BASE_SECONDS, MAX_SECONDS, Cooldown
from gateway.policy.target_id import TargetId
from gateway.policy.wrapper import Wrapper
from gateway.settings import Seconds, Settings, check_bound
from providers.errors import (
    AnswerTooLarge,
    BadAnswer,
    LimitExceeded,
    Rejected,
    RerankError,
    TargetFailed,
    TargetTimeout,
    Unreachable,
)
from providers.types import Backend, Ranking, RerankRequest

logger = logging.getLogger(__name__)

_FAILURES = (Unreachable, BadAnswer, TargetFailed)
"""The target is at fault. A timeout counts too, but only after `min_timeout`."""

_OUR_LIMITS = (LimitExceeded, AnswerTooLarge)
"""Nothing is known of the target: what it was asked, or what it answered, is more than we pass on."""

MIN_EVENTS = 5
"""Separate events that it takes until `failure_rate` applies: one replica that dies can cut off half of all calls."""


class BreakerSettings(Settings):
    """When a failing target is ejected, that is, gets no calls, and for how long."""

    failures: int = Field(
        default=5,
        ge=1,
        description="Consecutive failures that eject a target; calls cut off together count as one.",
    )
    failure_rate: float = Field(
        default=0.5, gt=0, le=1, description="Share of failed calls within `window` that ejects a target."
    )
    min_calls: int = Field(
        default=20, ge=1, description="Calls within `window` that are needed before `failure_rate` applies."
    )
    window: Seconds = Field(default=10.0, gt=0, description="Seconds over which the failure rate is measured.")
    base_ejection: Seconds = Field(
        default=BASE_SECONDS, gt=0, description="Seconds of the first ejection; the n-th lasts n times as long."
    )
    max_ejection: Seconds = Field(default=MAX_SECONDS, gt=0, description="Upper bound in seconds of an ejection.")
    min_timeout: Seconds = Field(
        default=1.0,
        ge=0,
        description="Timeouts below this many seconds are no failures: a caller's short deadline ejects nothing.",
    )

    @model_validator(mode="after")
    def _are_in_order(self) -> Self:
        check_bound(self, "base_ejection", "max_ejection")
        return self


class BreakerState:
    """A pure state machine that is told the time: closed, open until a time, then half open for one call, the probe.

    Attributes:
        settings: when it opens, and for how long.
        ejected: it is open or half open.
        cooldown: how long it stays open.
        has_served: a call has ever gone well.

    The calls that were under way when one of them failed, and that fail as well, are one event: what cut them off may
    be one dead replica behind a load balancer. The streak counts events.
    """

    __slots__ = (
        "_event_at",
        "_events",
        "_failures",
        "_held_until",
        "_probing",
        "_streak",
        "_successes",
        "_window_end",
        "cooldown",
        "ejected",
        "has_served",
        "settings",
    )

    def __init__(self, settings: BreakerSettings) -> None:
        self.settings = settings
        self._streak = self._events = self._successes = self._failures = 0
        self._event_at = float("-inf")
        self._window_end = self._held_until = 0.0
        self._probing = False
        self.has_served = False
        self.cooldown = Cooldown(settings.base_ejection, settings.max_ejection)
        self.ejected = False

    def admit(self, now: float) -> bool:
        """Whether a call may go to the target. If that is ejected, True means that this call is the probe."""
        if not self.ejected:
            return True
        if self._probing or self.left(now):
            return False
        self._probing = True
        return True

    def left(self, now: float) -> float:
        """Seconds until a call may probe the target; 0.0 if one may already."""
        return max(self.cooldown.left(now), self._held_until - now)

    def record_success(self, now: float, probe: bool) -> bool:
        """Count a call that went well. Returns True if it closed the breaker, which none does while it is held."""
        self._streak = 0
        self._successes += 1
        self.has_served = True
        self._probing = self._probing and not probe
        if not (probe and self.ejected) or self.is_held(now):
            return False
        self._close()
        return True

    def record_refusal(self, now: float, probe: bool) -> bool:
        """Count a call that the target refused for what it asked: it works. Returns True if that closed the breaker."""
        served = self.has_served
        closed = self.record_success(now, probe)
        self.has_served = served
        return closed

    def record_failure(
        self,
        now: float,
        probe: bool,
        at_least: float = 0.0,
        started_at: float | None = None,
        timed_out: bool = False,
    ) -> float | None:
        """Count a call that failed.

        Args:
            now: the clock's seconds.
            probe: whether it was the probe.
            at_least: the target's `Retry-After` in seconds.
            started_at: when the call began, in the clock's seconds; None means now.
            timed_out: the call waited in vain. Each one that did speaks for itself where the failure rate is reckoned.

        Returns:
            Seconds of the ejection that this failure started; None if it started none.
        """
        self._probing = self._probing and not probe
        if self.ejected:
            if probe and now >= self.cooldown.until:
                return self._eject(now, at_least)
            self.cooldown.extend(now, at_least)
            return None
        self._count(now, now if started_at is None else started_at, timed_out)
        return self._eject(now, at_least) if self._has_tripped() else None

    def ignore(self, probe: bool) -> None:
        """A call ended and says nothing about the target: it was cancelled, say, or a limit refused it."""
        self._probing = self._probing and not probe

    def record_health_check(self, now: float, healthy: bool) -> float | None:
        """Take over what a health check found. Returns seconds of the ejection that it started; None if none."""
        if not healthy:
            return None if self.cooldown.left(now) else self._eject(now, 0.0)
        if self.ejected and not self.is_held(now):
            self.cooldown.end(now)
            self._close()
        return None

    def hold(self, now: float, seconds: float) -> None:
        """Keep the target ejected for so many seconds from now, whatever is known of it: an operator wants it so.

        It is no cooldown: `max_ejection` does not shorten it.
        """
        self.ejected = True
        self._held_until = now + seconds

    def is_held(self, now: float) -> bool:
        """Whether an operator keeps it ejected: then nothing that goes well readmits it."""
        return now < self._held_until

    def readmit(self, now: float) -> None:
        """End an ejection, whoever wanted it: an operator says so."""
        self._held_until = 0.0
        self.record_health_check(now, healthy=True)

    @property
    def is_blank(self) -> bool:
        """Whether little is lost if it is forgotten: the target has never served, and is not ejected."""
        return not (self.has_served or self.ejected)

    def _count(self, now: float, started_at: float, timed_out: bool) -> None:
        if now >= self._window_end:
            self._window_end = now + self.settings.window
            self._successes = self._failures = self._events = 0
        self._failures += 1
        is_event = started_at >= self._event_at
        self._events += is_event or timed_out
        if is_event:
            self._event_at = now
            self._streak += 1

    def _has_tripped(self) -> bool:
        settings, calls = self.settings, self._failures + self._successes
        by_rate = calls >= settings.min_calls and self._failures >= settings.failure_rate * calls
        return (by_rate and self._events >= MIN_EVENTS) or self._streak >= settings.failures

    def _eject(self, now: float, at_least: float) -> float:
        self.ejected = True
        return self.cooldown.start(now, at_least)

    def _close(self) -> None:
        self.ejected = self._probing = False
        self._streak = self._events = self._successes = self._failures = 0
        self._window_end = 0.0


class Breaker(Wrapper):
    """Calls the target unless its breaker is open: then it raises BreakerOpen, and the skip is reported as an attempt.

    A call marked `bypass_cooldowns` goes through all the same: that request has no other target left.
    """

    def __init__(self, backend: Backend, state: BreakerState, target: TargetId, clock: Clock = CLOCK) -> None:
        super().__init__(backend)
        self.state = state
        self._target = target
        self._clock = clock

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The target's ranking. Raises BreakerOpen, else what the target raises."""
        start = self._clock.now()
        probe = self.state.ejected and self._is_probe(request, start)
        try:
            ranking = await self.backend.rerank(request)
        except RerankError as error:
            self._record_error(error, start, probe)
            raise
        except BaseException:
            self.state.ignore(probe)
            raise
        if self.state.record_success(self._clock.now(), probe or request.call.bypass_cooldowns):
            logger.warning("target %s is back", self._target)
        return ranking

    def _is_probe(self, request: RerankRequest, now: float) -> bool:
        admitted = self.state.admit(now)
        if admitted or request.call.bypass_cooldowns:
            return admitted
        raise self._skip(request, self.state.left(now))

    def _skip(self, request: RerankRequest, left: float) -> BreakerOpen:
        what = f"for another {left:.1f} s" if left else "until the call that probes it returns"
        error = BreakerOpen(f"{self._target} is not tried: breaker open {what}", retry_after=left)
        request.call.recorder.add_skip(self._target.provider, self._target.model, error)
        return error

    def _record_error(self, error: RerankError, start: float, probe: bool) -> None:
        now = self._clock.now()
        late = isinstance(error, TargetTimeout) and self._is_late(error, now - start)
        if isinstance(error, _OUR_LIMITS):
            self.state.ignore(probe)
        elif late or isinstance(error, _FAILURES):
            ejected = self.state.record_failure(now, probe, error.retry_after or 0.0, start, late)
            if ejected is not None:
                reason = error.status or error.code  # Never the message: it may quote the request.
                logger.warning("target %s is ejected for %.0f s (last: %s)", self._target, ejected, reason)
        elif isinstance(error, Rejected):
            self.state.record_refusal(now, probe)
        else:
            self.state.ignore(probe)  # Nobody was asked, or it was about a key: nothing is known of the target.

    def _is_late(self, error: TargetTimeout, took: float) -> bool:
        """Whether the target itself was given enough time, our own queues not counted."""
        return (took if error.waited is None else error.waited) >= self.state.settings.min_timeout
