"""Fusion: several models rank the same documents at once, and their rankings become one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from msgspec.structs import replace

from gateway import blocking
from gateway.errors import Skipped
from gateway.policy.clock import CLOCK, Clock
from gateway.policy.deadline import within_share
from gateway.policy.fallback import is_refusal
from gateway.policy.fusion_methods import FusionMethod, fuse
from gateway.policy.members import (
    Member,
    MemberResult,
    ask,
    evidence,
    refuse_pairs,
    total_cost,
    total_details,
    total_usage,
)
from gateway.policy.merging import first_error
from gateway.policy.verification import verify
from providers.errors import RerankError, TargetFailed
from providers.types import Ranked, Ranking, RerankRequest

MEMBER_SHARES = 9
"""The members' part of the time, to one part that is left for the answer, where they need not all have ranked."""

FUSING_SECONDS = 2.0
"""What may be spent on one ranking of theirs, however little time is left: the largest takes 0.5 s (8 members of 10,000
documents). A member may have ended just at the deadline, and what it ranked, perhaps for money, is not to be lost."""

RESULT_BYTES = 256
"""What ranking one result costs, in bytes of a body: by it the event loop is spared where there are many."""


class Fusion:
    """Several models as one.

    Where it can do without one of them, they have nine tenths of the time, so that one that hangs costs no answer.

    Args:
        name: of the model that they make.
        members: at least two.
        weights: one for each member.
        method: how their rankings become one.
        require: how many members must have ranked, the incoming order included.
        comparable: a member's ranking with scores that can be added to those of others, where such can be had.
    """

    def __init__(
        self,
        name: str,
        members: Sequence[Member],
        weights: Sequence[float],
        method: FusionMethod,
        require: int,
        comparable: Callable[[Ranking], Ranking],
        clock: Clock = CLOCK,
    ) -> None:
        self._name = name
        self._members = members
        self._weights = {member.name: weight for member, weight in zip(members, weights, strict=True)}
        self._method: FusionMethod = method
        self._require = require
        models = sum(not member.is_incoming for member in members)
        self._can_spare_one = require < len(members) and models > 1
        self._comparable = comparable
        self._clock = clock

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The fused ranking. Raises RerankError: that of a member, if too few have ranked, or none but a passthrough.

        The ranking is not made of the incoming order alone: that would be none at all.
        """
        refuse_pairs(request, self._name)
        results = await self._ask_all(self._within_time(replace(request, top_n=None)))
        served = [result for result in results if result.ranking is not None]
        if len(served) < self._require or all(result.member.is_incoming for result in served):
            raise self._failure(results)
        size = len(served) * len(request.documents) * RESULT_BYTES
        ranked = await blocking.run(size, partial(self._fuse, served, request), self._fusing_deadline(request))
        rankings = [result.ranking for result in served if result.ranking is not None]
        providers = dict.fromkeys(result.ranking.provider for result in _asked(served) if result.ranking)
        return Ranking(
            results=ranked,
            usage=total_usage(_asked(served)),
            cost=total_cost(served),
            provider="+".join(providers),
            model=self._name,
            alias=self._name,
            details={"members": [result.summary() for result in results], **total_details(served)},
            **evidence(rankings),
        )

    async def ready(self) -> bool:
        """Whether enough members could serve now, and one that is a model."""
        ready = [member for member in self._members if await member.backend.ready()]
        return len(ready) >= self._require and not all(member.is_incoming for member in ready)

    def _within_time(self, request: RerankRequest) -> RerankRequest:
        return within_share(request, self._clock, MEMBER_SHARES, 1) if self._can_spare_one else request

    def _fusing_deadline(self, request: RerankRequest) -> float | None:
        deadline = request.call.deadline
        return None if deadline is None else max(deadline, self._clock.now() + FUSING_SECONDS)

    async def _ask_all(self, request: RerankRequest) -> list[MemberResult]:
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(self._ask(member, request)) for member in self._members]
        except ExceptionGroup as errors:
            raise first_error(errors) from None
        return [task.result() for task in running]

    async def _ask(self, member: Member, request: RerankRequest) -> MemberResult:
        result = await ask(member, request, self._clock)
        details = result.ranking.details if result.ranking is not None else None
        if details and details.get("degraded") and not member.is_incoming:
            error = TargetFailed(f'no model ranked for "{member.name}": its fallback is a passthrough')
            return replace(result, ranking=None, error=error)
        return result

    def _failure(self, results: Sequence[MemberResult]) -> RerankError:
        """The error that says best why there is no ranking; see `gateway.policy.hedge` for why in this order."""
        errors = [result.error for result in results if result.error is not None]
        refusal = next(filter(is_refusal, errors), None)
        return refusal or next((error for error in errors if isinstance(error, Skipped)), errors[0])

    def _fuse(self, served: Sequence[MemberResult], request: RerankRequest) -> list[Ranked]:
        rankings = [self._results(result, request) for result in served]
        weights = [self._weights[result.member.name] for result in served]
        return verify(fuse(rankings, weights, self._method, len(request.documents)), request)

    def _results(self, result: MemberResult, request: RerankRequest) -> list[Ranked]:
        if result.member.is_incoming:
            return incoming_order(request)
        assert result.ranking is not None  # noqa: S101  # the caller has chosen those with one
        ranking = self._comparable(result.ranking) if self._method == "weighted_scores" else result.ranking
        return ranking.results


def incoming_order(request: RerankRequest) -> list[Ranked]:
    """The documents as they came: by their first-stage scores, if there are any, else in their order, from 1 towards 0.

    Documents without a score are left out, where others have one.
    """
    count = len(request.documents)
    scored = [Ranked(index, score) for index, score in enumerate(request.first_stage_scores or ()) if score is not None]
    if not scored:  # A stage before may have kept none of those with a score.
        return [Ranked(index, 1 - index / count) for index in range(count)]
    return sorted(scored, key=_descending)


def _descending(result: Ranked) -> float:
    return -result.relevance_score


def _asked(results: Sequence[MemberResult]) -> list[MemberResult]:
    """Those of models: the incoming order was asked of nobody."""
    return [result for result in results if not result.member.is_incoming]
