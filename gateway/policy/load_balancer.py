"""Several addresses of one target: a call that fails at one of them goes to another at once."""

from __future__ import annotations

from gateway.errors import AttemptsSpent, Limited, Skipped, StoreDown
from gateway.policy.clock import CLOCK, Clock
from gateway.policy.deadline import within_share
from gateway.policy.strategy import Order
from providers.errors import Overloaded, Rejected, TargetError
from providers.types import Ranking, RerankRequest

MAX_TRIES = 3
"""Addresses that one call asks at most. Further tries are the retries', which have a budget: where all addresses fail,
their load must not be multiplied by their number."""


class LoadBalancer:
    """Calls the addresses of one target in turn until one answers.

    What is about the request ends the call, since the other addresses serve the same model: a 400, a 413. What is about
    the address does not: no connection, no answer in time, a 5xx, a 429, an open breaker, a full queue. A bound of the
    gateway that is reached meanwhile, such as a rate limit, ends the call with what was answered before.

    An address that may not be the last one gets half of the time that is left.

    Args:
        order: gives the addresses in the order to try them.
        clock: replaced by tests.
    """

    def __init__(self, order: Order, clock: Clock = CLOCK) -> None:
        self._order = order
        self._clock = clock

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The first ranking. Raises the first error of an address that was called; if none was, that of a skip."""
        failures: list[TargetError] = []
        left = [candidate.step.backend for candidate in self._order(request.call.caller)]
        try:
            while left and _tries(failures) < MAX_TRIES:
                address = left.pop(0)
                is_last = not left or _tries(failures) == MAX_TRIES - 1
                try:
                    return await address.rerank(request if is_last else within_share(request, self._clock, 1, 1))
                except Rejected:
                    raise
                except (AttemptsSpent, Limited, StoreDown):
                    # A bound of ours, which holds for all addresses. It is no answer where one of them has given one.
                    if not _tries(failures):
                        raise
                    break
                except TargetError as error:
                    failures.append(error)
            raise _first_error(failures)
        finally:
            # An error holds the frames that it went through, this one and the request among them: a cycle otherwise.
            failures.clear()

    async def ready(self) -> bool:
        """Whether one of the addresses could serve now."""
        return any([await candidate.step.backend.ready() for candidate in self._order("")])


def _tries(failures: list[TargetError]) -> int:
    return sum([not isinstance(error, Overloaded | Skipped) for error in failures])


def _first_error(failures: list[TargetError]) -> TargetError:
    """What the caller is told: what an address said, rather than why one was not asked."""
    skips = [error for error in failures if isinstance(error, Skipped)]
    asked = next((error for error in failures if not isinstance(error, Overloaded | Skipped)), None)
    if asked is not None:
        asked.has_skipped = bool(skips)
        return asked
    return min(skips, key=lambda error: error.retry_after or 0.0) if skips else failures[0]
