"""Fallback: call the targets of a request in turn until one answers, and share the time out among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from gateway.errors import DeadlineExceeded, Skipped
from gateway.policy.clock import CLOCK, Clock
from gateway.policy.deadline import within_share
from providers.attempts import AttemptRecord
from providers.errors import LimitExceeded, Overloaded, Rejected, RerankError
from providers.types import Backend, Ranking, RerankRequest

_TIMER_SLACK_SECONDS = 0.005
"""This close to the deadline counts as past it: a call that was ended by a timer may end a little early."""


class Step(Struct, frozen=True):
    """One target of a request, or two that are hedged.

    Attributes:
        backend: the target with its policies.
        time_shares: its part of the time left, relative to the later steps'; 0 for a target that answers at once.
    """

    backend: Backend
    time_shares: int = 1


class Fallback:
    """Calls several steps in turn until one answers.

    Every failure moves on to the next step, an upstream's 4xx too: what one provider refuses another may accept. Only
    the caller's own cancellation ends the call.

    If none has answered, the targets that were skipped, because their breakers are open or their keys cool down, are
    called all the same: one of them may have recovered, and a sole target must never be out of reach. A request that
    some target refused as such is not sent to them: the fault is probably its own.
    """

    def __init__(self, steps: Sequence[Step], clock: Clock = CLOCK) -> None:
        self.steps = steps
        self._clock = clock

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The first ranking. Raises DeadlineExceeded if the time is over, else the first error of a called target."""
        steps, later = self.steps, 0
        failures: list[RerankError] = []
        skipped: list[Step] = []
        if len(steps) > 1:
            later = sum([step.time_shares for step in steps]) - steps[0].time_shares
        try:
            for position, step in enumerate(steps):
                if position:
                    later -= step.time_shares
                try:
                    return await step.backend.rerank(
                        within_share(request, self._clock, step.time_shares, later) if later else request
                    )
                except RerankError as error:
                    failures.append(error)
                    if isinstance(error, Skipped) or error.has_skipped:
                        skipped.append(step)
            if skipped and self._may_call_skipped(request, failures):
                return await self._call_skipped(request, skipped, failures)
            raise self._final_error(request, failures)
        finally:
            # An error holds the frames that it went through, this one and the request among them: a cycle otherwise.
            failures.clear()

    def _may_call_skipped(self, request: RerankRequest, failures: list[RerankError]) -> bool:
        return not any(map(is_refusal, failures)) and not request.call.bypass_cooldowns and self._has_time(request)

    async def _call_skipped(
        self, request: RerankRequest, steps: Sequence[Step], failures: list[RerankError]
    ) -> Ranking:
        call = replace(request.call, bypass_cooldowns=True)
        try:
            return await Fallback(steps, self._clock).rerank(replace(request, call=call))
        except RerankError as error:
            raise self._final_error(request, [*failures, error]) from None

    def _has_time(self, request: RerankRequest) -> bool:
        deadline = request.call.deadline
        return deadline is None or self._clock.now() < deadline - _TIMER_SLACK_SECONDS

    def _final_error(self, request: RerankRequest, failures: list[RerankError]) -> RerankError:
        attempts = request.call.recorder.attempts
        if attempts and not self._has_time(request):
            return _deadline_exceeded(attempts)
        return next((failure for failure in failures if not _is_skip(failure)), failures[0])


def is_refusal(error: RerankError) -> bool:
    """Whether a target was asked and refused the request as such, so that the fault is probably its own."""
    return isinstance(error, Rejected) and not isinstance(error, LimitExceeded)


def _is_skip(error: RerankError) -> bool:
    return isinstance(error, Skipped | Overloaded)


def _deadline_exceeded(attempts: Sequence[AttemptRecord]) -> DeadlineExceeded:
    longest = max(attempts, key=lambda attempt: attempt.latency)
    target = f"{longest.provider}/{longest.model}"
    return DeadlineExceeded(
        f"the time allowed for this call was used up, most of it by {target} ({longest.latency} ms: {longest.error})"
    )


class UnknownTarget:
    """Stands in for a target that does not exist, so that the fallbacks after it can still answer.

    Args:
        error: makes the error that says so. One that was raised before would hold on to the requests that it met.
        provider, model: as the caller wrote them.
    """

    def __init__(self, error: Callable[[], RerankError], provider: str, model: str) -> None:
        self.error = error
        self.provider = provider
        self.model = model

    async def rerank(self, request: RerankRequest) -> Ranking:
        """Raises the error that says so."""
        error = self.error()
        request.call.recorder.add_skip(self.provider, self.model, error, has_target=False)
        raise error

    async def ready(self) -> bool:
        return False
