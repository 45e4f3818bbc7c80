"""Retries: call the same target again where that can help, before the deadline, and within a budget."""

from __future__ import annotations

from time import monotonic

from pydantic import Field

from gateway.errors import BreakerOpen
from gateway.policy.clock import CLOCK, Clock
from gateway.policy.wrapper import Wrapper
from gateway.settings import Settings
from providers.errors import Overloaded, RerankError, Unreachable
from providers.types import Backend, Ranking, RerankRequest

STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Statuses after which the same request may succeed a moment later.

Cohere's SDK retries 408, 409, 429 and from 500 up. Of those from 500 up, 501 and its like are final; 529 is
OpenRouter's "provider overloaded". 425 is "too early" (RFC 8470)."""


class RetrySettings(Settings):
    """How often a failed call is repeated on the same target, and after which pause."""

    retries: int = Field(default=2, ge=0, le=10, description="Retries after the first call; 0 turns retries off.")
    base_backoff: float = Field(
        default=0.025, gt=0, description="Upper bound in seconds of the first pause; later pauses are longer."
    )
    max_backoff: float = Field(
        default=0.25, gt=0, description="Upper bound in seconds of every pause, except one that `Retry-After` asks for."
    )
    max_retry_after: float = Field(
        default=2.0,
        ge=0,
        description="If `Retry-After` asks for more seconds than this, the next target is tried instead.",
    )
    budget: float = Field(
        default=0.2, ge=0, le=1, description="Retries in flight, as a share of all requests in flight to the target."
    )
    min_concurrency: int = Field(default=3, ge=0, description="Retries that may be in flight whatever `budget` allows.")


class RetryBudget:
    """Keeps retries from multiplying the load of a target in trouble (Envoy's retry_budget: 20 %, at least 3).

    Attributes:
        active: requests in flight to the target, first calls and retries alike.
        retrying: those of them that are retries, their pauses included.
    """

    __slots__ = ("_min_concurrency", "_ratio", "active", "retrying")

    def __init__(self, settings: RetrySettings) -> None:
        self._ratio = settings.budget
        self._min_concurrency = settings.min_concurrency
        self.active = 0
        self.retrying = 0

    def try_acquire(self) -> bool:
        """Whether one more retry may begin. True must be followed by one `release`."""
        if self.retrying >= max(self._min_concurrency, int(self._ratio * self.active)):
            return False
        self.retrying += 1
        return True

    def release(self) -> None:
        """End a retry."""
        self.retrying -= 1


def is_transient(error: RerankError) -> bool:
    """Whether the same call may succeed a moment later: no byte of an answer had come, or one of STATUSES."""
    if isinstance(error, Unreachable):
        return error.retryable
    return error.retryable and error.status in STATUSES


def backoff(settings: RetrySettings, retry: int, chance: float) -> float:
    """Seconds before the n-th retry (from 1): full jitter below (2^n - 1) x `base_backoff`, at most `max_backoff`.

    Source: Envoy's router filter, x-envoy-max-retries.
    """
    return chance * min(settings.max_backoff, settings.base_backoff * float(2**retry - 1))


class Retry(Wrapper):
    """Calls a target again after a failure that may pass."""

    def __init__(self, backend: Backend, settings: RetrySettings, budget: RetryBudget, clock: Clock = CLOCK) -> None:
        super().__init__(backend)
        self._settings = settings
        self._budget = budget
        self._clock = clock

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The ranking of the first call that succeeds. Raises the error of the last call that reached the target."""
        budget = self._budget
        budget.active += 1
        try:
            return await self.backend.rerank(request)
        except RerankError as error:
            failures = [error]
        finally:
            budget.active -= 1
        try:
            return await self._retry(request, failures)
        finally:
            # An error holds the frames that it went through, these and the request among them: a cycle otherwise.
            failures.clear()

    async def _retry(self, request: RerankRequest, failures: list[RerankError]) -> Ranking:
        for retry in range(1, self._settings.retries + 1):
            pause = self._pause(request, failures[-1], retry)
            if pause is None or not self._budget.try_acquire():
                break
            self._budget.active += 1
            try:
                start = monotonic()
                await self._clock.sleep(pause)
                request.call.recorder.add_wait(start, monotonic())
                return await self.backend.rerank(request)
            except (BreakerOpen, Overloaded):
                break  # This call did not reach the target: the answer before counts.
            except RerankError as error:
                failures.append(error)
            finally:
                self._budget.active -= 1
                self._budget.release()
        raise failures[-1]

    def _pause(self, request: RerankRequest, error: RerankError, retry: int) -> float | None:
        """Seconds until the next call; None if there should be no other call."""
        retry_after = error.retry_after or 0.0
        if not is_transient(error) or retry_after > self._settings.max_retry_after:
            return None
        pause = max(retry_after, backoff(self._settings, retry, self._clock.chance()))
        deadline = request.call.deadline
        return None if deadline is not None and pause >= deadline - self._clock.now() else pause
