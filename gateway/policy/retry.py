"""Retries: call the same target again where that can help, before the deadline, and within a budget."""

from __future__ import annotations

from time import monotonic
from typing import Self

from pydantic import Field, model_validator

from gateway.errors import KeysCooling, Limited, Skipped, StoreDown
from gateway.policy.clock import CLOCK, Clock
from gateway.policy.wrapper import Wrapper
from gateway.settings import Seconds, Settings, check_bound
from providers.errors import Overloaded, RerankError, TargetFailed, Unreachable
from providers.types import Backend, Ranking, RerankRequest

STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 524, 529})
"""Statuses after which the same request may succeed a moment later.

Cohere's SDK retries 408, 409, 429 and from 500 up. Of those from 500 up, 501 and its like are final; 524 is
Cloudflare's "a timeout occurred", 529 OpenRouter's "provider overloaded". 425 is "too early" (RFC 8470)."""


CUT_OFF_STATUSES = frozenset({500, 502, 503})
"""What proxies say of a replica that died while it answered: Ray Serve 500, nginx 502, Envoy 503."""

BURST_SECONDS = 5.0
"""Time between two bursts of retries, so that they cannot keep up the load of a target that fails all the time."""

MIN_PAUSE_SECONDS = 0.01
"""Shortest pause before a key that still cools down is tried again: bounds how often that can happen."""


class RetrySettings(Settings):
    """How often a failed call is repeated on the same target, and after which pause."""

    retries: int = Field(default=2, ge=0, le=10, description="Retries after the first call; 0 turns retries off.")
    base_backoff: Seconds = Field(
        default=0.025, gt=0, description="Upper bound in seconds of the first pause; later pauses are longer."
    )
    max_backoff: Seconds = Field(
        default=0.25, gt=0, description="Upper bound in seconds of every pause, except one that `Retry-After` asks for."
    )
    max_retry_after: Seconds = Field(
        default=2.0,
        ge=0,
        description="If `Retry-After` asks for more seconds than this, the next target is tried instead.",
    )
    budget: float = Field(
        default=0.2, ge=0, le=1, description="Retries in flight, as a share of all requests in flight to the target."
    )
    min_concurrency: int = Field(default=3, ge=0, description="Retries that may be in flight whatever `budget` allows.")

    @model_validator(mode="after")
    def _are_in_order(self) -> Self:
        check_bound(self, "base_backoff", "max_backoff")
        return self


class RetryBudget:
    """Keeps retries from multiplying the load of a target in trouble (Envoy's retry_budget: 20 %, at least 3).

    One exception: a replica that dies behind a load balancer cuts off many calls at once. Those that were under way
    when the first of them failed are a burst, and may all be tried again. Another one may begin after BURST_SECONDS, or
    at once if it is at least twice as large: a few calls that failed by chance do not use up what a death will need.

    Attributes:
        active: requests in flight to the target, first calls and retries alike.
        retrying: those of them that are retries, their pauses included.
    """

    __slots__ = ("_burst_at", "_burst_size", "_min_concurrency", "_ratio", "active", "retrying")

    def __init__(self, settings: RetrySettings) -> None:
        self._ratio = settings.budget
        self._min_concurrency = settings.min_concurrency
        self._burst_at = float("-inf")
        self._burst_size = 0
        self.active = 0
        self.retrying = 0

    def joins_burst(self, started_at: float, now: float) -> bool:
        """Whether a call that was cut off now belongs to a burst: the latest one, or one that it is the first of.

        Args:
            started_at: when its request began, in the clock's seconds.
            now: the clock's seconds. The call itself no longer counts as active.
        """
        size = self.active + 1
        is_next = now - self._burst_at >= BURST_SECONDS or size >= 2 * self._burst_size
        if self.active and is_next:
            self._burst_at, self._burst_size = now, size
        return started_at <= self._burst_at

    def try_acquire(self, in_burst: bool = False) -> bool:
        """Whether one more retry may begin. True must be followed by one `release`."""
        allowed = max(self._min_concurrency, int(self._ratio * self.active))
        if in_burst and self._ratio:
            allowed = max(allowed, self._burst_size)
        if self.retrying >= allowed:
            return False
        self.retrying += 1
        return True

    def release(self) -> None:
        """End a retry."""
        self.retrying -= 1


def is_transient(error: RerankError) -> bool:
    """Whether the same call may succeed a moment later: no whole answer came, or one of STATUSES."""
    if isinstance(error, Unreachable):
        return error.retryable
    return error.retryable and error.status in STATUSES


def backoff(settings: RetrySettings, retry: int, chance: float) -> float:
    """Seconds before the n-th retry (from 1): full jitter below (2^n - 1) x `base_backoff`, at most `max_backoff`.

    Source: Envoy's router filter, x-envoy-max-retries.
    """
    return chance * min(settings.max_backoff, settings.base_backoff * float(2**retry - 1))


def is_cut_off(error: RerankError) -> bool:
    """Whether the call may have been cut off by a replica that died, as the connection or a proxy before it tells."""
    if isinstance(error, Unreachable):
        return error.retryable
    return isinstance(error, TargetFailed) and error.status in CUT_OFF_STATUSES and error.retry_after is None


class Retry(Wrapper):
    """Calls a target again after a failure that may pass."""

    def __init__(self, backend: Backend, settings: RetrySettings, budget: RetryBudget, clock: Clock = CLOCK) -> None:
        super().__init__(backend)
        self._settings = settings
        self._budget = budget
        self._clock = clock

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The ranking of the first call that succeeds. Raises the error of the last call that reached the target."""
        budget, started_at = self._budget, self._clock.now()
        budget.active += 1
        try:
            return await self.backend.rerank(request)
        except RerankError as error:
            failures = [error]
        finally:
            budget.active -= 1
        try:
            return await self._retry(request, failures, started_at)
        finally:
            # An error holds the frames that it went through, these and the request among them: a cycle otherwise.
            failures.clear()

    async def _retry(self, request: RerankRequest, failures: list[RerankError], started_at: float) -> Ranking:
        for retry in range(1, self._settings.retries + 1):
            pause = self._pause(request, failures[-1], retry)
            if pause is None or not self._try_acquire(failures[-1], started_at):
                break
            self._budget.active += 1
            try:
                return await self._call_after(pause, request)
            except (Limited, Overloaded, Skipped, StoreDown):
                break  # This call did not reach the target: the answer before counts.
            except RerankError as error:
                failures.append(error)
            finally:
                self._budget.active -= 1
                self._budget.release()
        raise failures[-1]

    async def _call_after(self, pause: float, request: RerankRequest) -> Ranking:
        """The ranking of a call after a pause, made longer where the target's keys cool down for longer by then."""
        latest = self._clock.now() + pause + self._settings.max_retry_after
        while True:
            start = monotonic()
            await self._clock.sleep(pause)
            request.call.recorder.add_wait(start, monotonic())
            try:
                return await self.backend.rerank(request)
            except KeysCooling as error:
                # Another request was told to wait meanwhile, or the timer was a little early.
                pause = max(error.retry_after or 0.0, MIN_PAUSE_SECONDS)
                if self._clock.now() + pause > latest or not self._has_time(request, pause):
                    raise

    def _try_acquire(self, error: RerankError, started_at: float) -> bool:
        in_burst = is_cut_off(error) and self._budget.joins_burst(started_at, self._clock.now())
        return self._budget.try_acquire(in_burst)

    def _pause(self, request: RerankRequest, error: RerankError, retry: int) -> float | None:
        """Seconds until the next call; None if there should be no other call."""
        retry_after = error.retry_after or 0.0
        if not is_transient(error) or retry_after > self._settings.max_retry_after:
            return None
        pause = max(retry_after, backoff(self._settings, retry, self._clock.chance()))
        return pause if self._has_time(request, pause) else None

    def _has_time(self, request: RerankRequest, pause: float) -> bool:
        deadline = request.call.deadline
        return deadline is None or pause < deadline - self._clock.now()
