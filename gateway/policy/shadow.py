"""Shadow traffic: after a request has been answered, a candidate ranks it too, and the two rankings are compared.

Nothing of it reaches the caller: the call begins when the answer has gone out, has its own deadline, its own record and
no part in the caller's limits. Under load it is what is dropped first. Known elsewhere as request mirroring
(https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto, RequestMirrorPolicy).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from msgspec.structs import replace
from pydantic import Field

from gateway.policy.agreement import compare
from gateway.policy.clock import CLOCK, Clock
from gateway.policy.target_id import TargetId
from gateway.settings import Settings
from gateway.telemetry.shadows import ShadowOutcome
from providers.errors import RerankError
from providers.types import Backend, Call, Ranking, RerankRequest

logger = logging.getLogger(__name__)

MAX_LAG_SECONDS = 0.01
"""A shadow call that the event loop begins later than this is dropped: the process has enough to do."""

LOWEST_PRIORITY = 999
"""What a shadow call asks of targets that know priorities, so that it waits behind callers."""


class ShadowSettings(Settings):
    """A candidate that ranks answered requests once more, for comparison."""

    target: str = Field(description="The candidate, as `provider/model`. It is sent the callers' texts.")
    share: float = Field(default=1.0, gt=0, le=1, description="Share of the requests that it ranks too.")
    concurrency: int = Field(default=4, ge=1, le=1000, description="Shadow calls in flight; further ones are dropped.")


Report = Callable[[ShadowOutcome], None]


class Shadow:
    """The candidate beside one model.

    Args:
        model: the name whose requests it ranks too.
        target: the candidate's.
        backend: the candidate with policies of its own, so that its faults and its queue are not those of live calls.
        settings: which requests, and how many at once.
        seconds: how long a call may take.
        is_busy: whether live calls of the same target wait for their turn.
        clock: replaced by tests.
    """

    def __init__(
        self,
        model: str,
        target: TargetId,
        backend: Backend,
        settings: ShadowSettings,
        seconds: float,
        is_busy: Callable[[], bool],
        clock: Clock = CLOCK,
    ) -> None:
        self._model, self._candidate = model, str(target)
        self._backend = backend
        self._settings = settings
        self._seconds = seconds
        self._is_busy = is_busy
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        """Calls that have begun and are not over."""
        return len(self._tasks)

    def offer(self, request: RerankRequest, live: Ranking, report: Report) -> None:
        """Let the candidate rank an answered request, if it is drawn and there is room. Returns at once.

        Args:
            request: as it was served; of its call only the id travels on.
            live: what the caller got. Only the model's own ranking is compared, not a fallback's.
            report: is told what became of it, unless the request was not drawn.
        """
        if request.queries is not None or live.alias != self._model or not live.results:
            return
        if self._clock.chance() >= self._settings.share:
            return
        if len(self._tasks) >= self._settings.concurrency or self._is_busy():
            report(self._dropped())
            return
        task = asyncio.create_task(self._run(request, live, report, self._clock.now()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """End the calls that are under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _dropped(self) -> ShadowOutcome:
        return ShadowOutcome(self._model, self._candidate, "dropped")

    async def _run(self, request: RerankRequest, live: Ranking, report: Report, offered: float) -> None:
        start = self._clock.now()
        if start - offered > MAX_LAG_SECONDS:
            report(self._dropped())
            return
        try:
            ranking = await self._backend.rerank(self._copy(request, start))
        except RerankError as error:
            seconds = self._clock.now() - start
            report(ShadowOutcome(self._model, self._candidate, "error", error.code, seconds))
            return
        except Exception as error:  # A fault of ours; its message may quote texts.
            logger.error("the shadow call of %s failed: %s", self._model, type(error).__name__)
            report(ShadowOutcome(self._model, self._candidate, "error", "internal_error", self._clock.now() - start))
            return
        seconds = self._clock.now() - start
        agreement = compare([result.index for result in live.results], [result.index for result in ranking.results])
        report(ShadowOutcome(self._model, self._candidate, "ok", "", seconds, ranking.cost, agreement))

    def _copy(self, request: RerankRequest, now: float) -> RerankRequest:
        """The request without anything that leads back to the caller's own: record, limits, deadline, trace."""
        call = Call(
            id=request.call.id,
            deadline=now + self._seconds,
            headers={"x-request-id": request.call.id},
            body_bytes=request.call.body_bytes,
        )
        # What decided is not compared, and may take a second pass.
        return replace(request, call=call, attempt=None, priority=LOWEST_PRIORITY, return_spans=False)
