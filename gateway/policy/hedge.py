"""Hedging: call a second target as well when the first one is slow; the first good answer wins.

After Dean and Barroso, The Tail at Scale, 2013: hedge at the 95th percentile, and bound the extra calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pydantic import Field

from gateway.errors import Skipped
from gateway.policy.clock import CLOCK, Clock
from gateway.policy.deadline import within_share
from gateway.policy.fallback import Step, is_refusal
from gateway.policy.latency import LatencyStats
from gateway.settings import Seconds, Settings
from providers.errors import RerankError
from providers.types import Ranking, RerankRequest

RATIO = 0.1
"""Extra calls per call: what hedging may add to the load of the targets."""

BURST = 10.0
"""Extra calls that may be saved up while none are needed."""


class HedgeSettings(Settings):
    """When a slow request is also sent to a second target."""

    after: Seconds | None = Field(
        default=None,
        gt=0,
        description="Seconds to wait for the first target; default is the 95th percentile of its latency.",
    )


class HedgeBudget:
    """At no time more than RATIO of all calls so far are extra (a token bucket, as tower's retry budget). Pure."""

    __slots__ = ("_balance",)

    def __init__(self) -> None:
        self._balance = 0.0

    def deposit(self) -> None:
        """Note that one ordinary call began."""
        self._balance = min(BURST, self._balance + RATIO)

    def withdraw(self) -> bool:
        """Spend one extra call. False if there is none to spend."""
        if self._balance < 1.0 - 1e-9:  # Ten deposits of a tenth make a little less than one.
            return False
        self._balance -= 1.0
        return True


class Hedge:
    """Two targets as one: the second is called when the first fails, or has not answered after a while.

    The first has no more than its own share of the time, as in a fallback: where the second may not be called beside
    it, a first that hangs leaves the second its time.

    Args:
        first, second: with their policies and shares. The call that loses is cancelled.
        settings: how long to wait for the first.
        latency: the first one's; its 95th percentile is the wait where the settings give none.
        budget: shared by all requests of a route.
    """

    def __init__(
        self,
        first: Step,
        second: Step,
        settings: HedgeSettings,
        latency: LatencyStats,
        budget: HedgeBudget,
        clock: Clock = CLOCK,
    ) -> None:
        self._first = first
        self._second = second
        self._settings = settings
        self._latency = latency
        self._budget = budget
        self._clock = clock

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The ranking that comes first. Raises a refusal of the request, else Skipped if a target was, else the
        first one's error."""
        self._budget.deposit()
        delay = self._settings.after or self._latency.p95()
        first = within_share(request, self._clock, self._first.time_shares, self._second.time_shares)
        tasks = [asyncio.ensure_future(self._first.backend.rerank(first))]
        try:
            await asyncio.wait(tasks, timeout=delay)
            if not tasks[0].done() and not self._budget.withdraw():
                await asyncio.wait(tasks)
            if _is_ranking(tasks[0]):
                return tasks[0].result()
            tasks.append(asyncio.ensure_future(self._second.backend.rerank(request)))
            return await _first_of(tasks)
        finally:
            await _cancel(tasks)
            # A task holds its error, and that the frames it went through, this one among them: a cycle otherwise.
            tasks.clear()

    async def ready(self) -> bool:
        return await self._first.backend.ready() or await self._second.backend.ready()


def _is_ranking(task: asyncio.Future[Ranking]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


async def _first_of(tasks: Sequence[asyncio.Future[Ranking]]) -> Ranking:
    while running := [task for task in tasks if not task.done()]:
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        if any(map(_is_ranking, tasks)):
            break
    winner = next(filter(_is_ranking, tasks), None)
    if winner is None:
        raise _failure(tasks)
    return winner.result()


def _failure(tasks: Sequence[asyncio.Future[Ranking]]) -> RerankError:
    failures = [failure for task in tasks if isinstance(failure := task.exception(), RerankError)]
    # A skip goes before other errors: `Fallback` then calls the skipped targets all the same, if nothing else is left.
    # A refusal goes before a skip: the target that refused the request must not be asked again.
    refusal = next(filter(is_refusal, failures), None)
    return refusal or next((failure for failure in failures if isinstance(failure, Skipped)), failures[0])


async def _cancel(tasks: Sequence[asyncio.Future[Ranking]]) -> None:
    """Cancel the calls that still run, and wait until they have released what they hold."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
