"""Walk through the targets of a call until one serves, and share the time out among them."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from gateway.errors import BreakerOpen, DeadlineExceeded
from gateway.policy.clock import CLOCK, Clock
from gateway.policy.deadline import share
from providers.attempts import AttemptRecord
from providers.errors import Overloaded, Rejected, RerankError
from providers.types import Backend, Ranking, RerankRequest

_SOON = 0.005
"""Seconds before the deadline that count as past it: timers are not exact."""


class Step(Struct, frozen=True):
    """One target in the walk.

    Attributes:
        backend: the target with its policies.
        time_shares: of the time left, against the other steps' parts; 0 for what answers at once.
    """

    backend: Backend
    time_shares: int = 1


class Fallback:
    """The first of several steps that answers.

    Every failure moves on, an upstream's 4xx too: what one provider refuses another may take. Only the caller's own
    cancellation does not. Where nobody else served, the targets that were left out because their breakers are open are
    asked all the same: a healthy one may be among them, and the last target is never taken away. Only a request that
    some target refused as such is not tried on them.
    """

    def __init__(self, steps: Sequence[Step], clock: Clock = CLOCK) -> None:
        self.steps = steps
        self._clock = clock

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The first ranking. Raises DeadlineExceeded if the time is over, else the first error of a target."""
        steps, rest = self.steps, 0
        failures: list[RerankError] = []
        skipped: list[Step] = []
        if len(steps) > 1:
            rest = sum([step.time_shares for step in steps]) - steps[0].time_shares
        try:
            for position, step in enumerate(steps):
                if position:
                    rest -= step.time_shares
                try:
                    return await step.backend.rerank(
                        self._in_time(request, step.time_shares, rest) if rest else request
                    )
                except RerankError as error:
                    failures.append(error)
                    if isinstance(error, BreakerOpen):
                        skipped.append(step)
            if skipped and self._may_insist(request, failures):
                return await self._insist(request, skipped, failures)
            raise self._final_error(request, failures)
        finally:
            # An error holds the frames that it went through, this one and the request among them: a cycle otherwise.
            failures.clear()

    def _may_insist(self, request: RerankRequest, failures: list[RerankError]) -> bool:
        refused = any(isinstance(failure, Rejected) for failure in failures)
        return not refused and not request.call.bypass_breaker and self._has_time(request)

    async def _insist(self, request: RerankRequest, steps: Sequence[Step], failures: list[RerankError]) -> Ranking:
        call = replace(request.call, bypass_breaker=True)
        try:
            return await Fallback(steps, self._clock).rerank(replace(request, call=call))
        except RerankError as error:
            raise self._final_error(request, [*failures, error]) from None

    def _has_time(self, request: RerankRequest) -> bool:
        deadline = request.call.deadline
        return deadline is None or self._clock.now() < deadline - _SOON

    def _in_time(self, request: RerankRequest, own: int, rest: int) -> RerankRequest:
        deadline = request.call.deadline
        if deadline is None or not own:
            return request
        now = self._clock.now()
        return replace(request, call=replace(request.call, deadline=now + share(deadline - now, own, rest)))

    def _final_error(self, request: RerankRequest, failures: list[RerankError]) -> RerankError:
        attempts = request.call.recorder.attempts
        if attempts and not self._has_time(request):
            return _deadline_exceeded(attempts)
        return next((failure for failure in failures if not _is_skip(failure)), failures[0])


def _is_skip(error: RerankError) -> bool:
    return isinstance(error, BreakerOpen | Overloaded)


def _deadline_exceeded(attempts: Sequence[AttemptRecord]) -> DeadlineExceeded:
    longest = max(attempts, key=lambda attempt: attempt.latency)
    target = f"{longest.provider}/{longest.model}"
    return DeadlineExceeded(
        f"the time allowed for this call was used up, most of it by {target} ({longest.latency} ms: {longest.error})"
    )


class UnknownTarget:
    """Stands where a name resolves to nothing, so that a fallback behind it still serves."""

    def __init__(self, error: RerankError, provider: str, model: str) -> None:
        self.error = error
        self.provider = provider
        self.model = model

    async def rerank(self, request: RerankRequest) -> Ranking:
        request.call.recorder.add_skip(self.provider, self.model, self.error, has_target=False)
        raise self.error

    async def ready(self) -> bool:
        return False
