"""Leave a failing target alone for a while, then let one call find out whether it is back.

Numbers from Envoy's outlier detection (outlier_detection.proto): five failures in a row, or a failure rate; out for
30 s times the number of ejections, at most 300 s.
"""

from __future__ import annotations

import logging

from pydantic import Field

from gateway.errors import BreakerOpen
from gateway.policy.clock import CLOCK, Clock
from gateway.policy.cooldown import BASE_SECONDS, MAX_SECONDS, Cooldown
from gateway.policy.target_id import TargetId
from gateway.policy.wrapper import Wrapper
from gateway.settings import Settings
from providers.errors import BadAnswer, CallerError, Rejected, RerankError, TargetFailed, TargetTimeout, Unreachable
from providers.types import Backend, Ranking, RerankRequest

logger = logging.getLogger(__name__)

_FAULTS = (Unreachable, BadAnswer, TargetFailed)
_ANSWERS = (Rejected, CallerError)
"""A refusal of this one request; it shows that the target lives."""


class BreakerSettings(Settings):
    """When a failing target is ejected, that is, gets no calls, and for how long."""

    failures: int = Field(default=5, ge=1, description="Consecutive failures that eject a target.")
    failure_rate: float = Field(
        default=0.5, gt=0, le=1, description="Share of failed calls within `window` that ejects a target."
    )
    min_calls: int = Field(
        default=20, ge=1, description="Calls within `window` that are needed before `failure_rate` applies."
    )
    window: float = Field(default=10.0, gt=0, description="Seconds over which the failure rate is measured.")
    base_ejection: float = Field(
        default=BASE_SECONDS, gt=0, description="Seconds of the first ejection; the n-th lasts n times as long."
    )
    max_ejection: float = Field(default=MAX_SECONDS, gt=0, description="Upper bound in seconds of an ejection.")
    min_timeout: float = Field(
        default=1.0,
        ge=0,
        description="Timeouts below this many seconds are no failures: a caller's short deadline ejects nothing.",
    )


class BreakerState:
    """A pure state machine: closed, open until a time, then half open for one probe.

    Attributes:
        settings: when it opens, and for how long.
        ejected: not closed: open, or half open.
    """

    __slots__ = ("_failures", "_probing", "_streak", "_successes", "_window_end", "cooldown", "ejected", "settings")

    def __init__(self, settings: BreakerSettings) -> None:
        self.settings = settings
        self._streak = self._successes = self._failures = 0
        self._window_end = 0.0
        self._probing = False
        self.cooldown = Cooldown(settings.base_ejection, settings.max_ejection)
        self.ejected = False

    def admit(self, now: float) -> bool:
        """Whether a call may go to the target. While ejected, a True makes the call the one probe."""
        if not self.ejected:
            return True
        if self._probing or now < self.cooldown.until:
            return False
        self._probing = True
        return True

    def succeeded(self, probe: bool) -> bool:
        """A call that went well. Returns True if that brought the target back."""
        self._streak = 0
        self._successes += 1
        if not (probe and self.ejected):
            return False
        self._close()
        return True

    def failed(self, now: float, probe: bool, at_least: float = 0.0) -> float | None:
        """A call that failed; `at_least` is how long the target asked to be left alone.

        Returns:
            Seconds of the ejection that this failure started; None if it started none.
        """
        self._probing = self._probing and not probe
        if self.ejected:
            if probe and now >= self.cooldown.until:
                return self._eject(now, at_least)
            self.cooldown.extend(now, at_least)
            return None
        self._count(now)
        return self._eject(now, at_least) if self._is_too_much() else None

    def ignore(self, probe: bool) -> None:
        """A call that told nothing about the target: cancelled, or refused by a limit."""
        self._probing = self._probing and not probe

    def checked(self, now: float, good: bool) -> float | None:
        """What an active health check found. Returns seconds of the ejection that it started, if it did."""
        if not good:
            return None if self.cooldown.left(now) else self._eject(now, 0.0)
        if self.ejected:
            self.cooldown.end(now)
            self._close()
        return None

    def _count(self, now: float) -> None:
        if now >= self._window_end:
            self._window_end = now + self.settings.window
            self._successes = self._failures = 0
        self._streak += 1
        self._failures += 1

    def _is_too_much(self) -> bool:
        settings, calls = self.settings, self._failures + self._successes
        by_rate = calls >= settings.min_calls and self._failures >= settings.failure_rate * calls
        return by_rate or self._streak >= settings.failures

    def _eject(self, now: float, at_least: float) -> float:
        self.ejected = True
        return self.cooldown.start(now, at_least)

    def _close(self) -> None:
        self.ejected = self._probing = False
        self._streak = self._successes = self._failures = 0
        self._window_end = 0.0


class Breaker(Wrapper):
    """Guards one target. A call that it does not let through raises BreakerOpen and is recorded as an attempt.

    A call marked `bypass_breaker` goes through an open breaker: nothing else is left for that request.
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
            self._judge(error, start, probe)
            raise
        except BaseException:
            self.state.ignore(probe)
            raise
        if self.state.succeeded(probe or request.call.bypass_breaker):
            logger.warning("target %s is back", self._target)
        return ranking

    def _is_probe(self, request: RerankRequest, now: float) -> bool:
        admitted = self.state.admit(now)
        if admitted or request.call.bypass_breaker:
            return admitted
        raise self._left_out(request, self.state.cooldown.left(now))

    def _left_out(self, request: RerankRequest, left: float) -> BreakerOpen:
        what = f"for another {left:.1f} s" if left else "until the call that probes it returns"
        error = BreakerOpen(f"{self._target} is not tried: breaker open {what}", retry_after=left)
        request.call.recorder.add_skip(self._target.provider, self._target.model, error)
        return error

    def _judge(self, error: RerankError, start: float, probe: bool) -> None:
        now = self._clock.now()
        late = isinstance(error, TargetTimeout) and now - start >= self.state.settings.min_timeout
        if late or isinstance(error, _FAULTS):
            ejected = self.state.failed(now, probe, error.retry_after or 0.0)
            if ejected is not None:
                told = error.status or error.code
                logger.warning("target %s is ejected for %.0f s (last: %s)", self._target, ejected, told)
        elif isinstance(error, _ANSWERS):
            self.state.succeeded(probe)
        else:
            self.state.ignore(probe)
