"""Cascade: a cheap model cuts the list, a strong one ranks what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from pydantic import Field

from gateway.policy.clock import CLOCK, Clock
from gateway.policy.deadline import within_share
from gateway.policy.members import Member, MemberResult, ask, refuse_pairs, total_cost, total_details, total_usage
from gateway.settings import Settings
from providers.types import AnswerWarning, Ranking, RerankRequest


class StageSettings(Settings):
    """One stage of a cascade."""

    model: str = Field(description="`provider/model`, or another name.")
    keep: int | None = Field(
        default=None,
        ge=1,
        description="How many documents are left after it, its best; only the last stage may keep all that it ranks.",
    )


class Stage(Struct, frozen=True):
    """One stage.

    Attributes:
        member: the model that ranks.
        keep: how many documents are left after it; None is all.
    """

    member: Member
    keep: int | None


class Cascade:
    """Several models one after the other, as one. A stage that would cut nothing is left out, unless it is the last.

    What is answered is the last stage's ranking, so that all scores are of one model; what earlier stages have cut is
    not in it.

    Args:
        name: of the model that they make.
        stages: at least two.
    """

    def __init__(self, name: str, stages: Sequence[Stage], clock: Clock = CLOCK) -> None:
        self._name = name
        self._stages = stages
        self._clock = clock

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The last stage's ranking of what was left. Raises RerankError: that of the stage that failed."""
        refuse_pairs(request, self._name)
        places = list(range(len(request.documents)))
        done: list[MemberResult] = []
        for position, stage in enumerate(self._stages):
            later = len(self._stages) - position - 1
            if later and stage.keep is not None and len(places) <= stage.keep:
                continue
            result = await self._run(stage, _part(request, places), later)
            done.append(replace(result, places=places))
            ranking = _ranking(result)
            places = [places[result.index] for result in ranking.results]
        results = [replace(result, index=place) for result, place in zip(ranking.results, places, strict=True)]
        spans = ranking.spans and {done[-1].place(index): own for index, own in ranking.spans.items()}
        return replace(
            ranking,
            results=results,
            usage=total_usage(done),
            cost=total_cost(done),
            alias=self._name,
            details=_details(done, ranking),
            spans=spans,
            warnings=_warnings(done),
        )

    async def ready(self) -> bool:
        """Whether every stage could serve now."""
        return all([await stage.member.backend.ready() for stage in self._stages])

    async def _run(self, stage: Stage, request: RerankRequest, later: int) -> MemberResult:
        """What the stage made of this part, cut. Raises RerankError."""
        keep = stage.keep
        if not later and request.top_n is not None:
            keep = request.top_n if keep is None else min(keep, request.top_n)
        # What decided is told by the last stage, whose scores are answered.
        spans = request.return_spans and not later
        request = within_share(replace(request, top_n=keep, return_spans=spans), self._clock, 1, later)
        result = await ask(stage.member, request, self._clock)
        if result.error is not None:
            raise result.error
        return result


def _warnings(done: Sequence[MemberResult]) -> tuple[AnswerWarning, ...]:
    """Those of all stages, each once, and one for each stage before the last whose fallback ranked nothing."""
    told = [warning for each in done for warning in _ranking(each).warnings]
    unranked = [each.member.name for each in done[:-1] if (_ranking(each).details or {}).get("degraded")]
    told += [
        AnswerWarning("stage_not_ranked", f"{name} ranked nothing: what it kept are the first documents as they came")
        for name in unranked
    ]
    return tuple(dict.fromkeys(told))


def _ranking(result: MemberResult) -> Ranking:
    assert result.ranking is not None  # noqa: S101  # there is one where there is no error
    return result.ranking


def _part(request: RerankRequest, places: Sequence[int]) -> RerankRequest:
    """The request with the documents at these places only, in the order of the stage before."""
    if len(places) == len(request.documents):
        return request
    scores = request.first_stage_scores
    return replace(
        request,
        documents=[request.documents[place] for place in places],
        first_stage_scores=None if scores is None else [scores[place] for place in places],
    )


def _details(done: Sequence[MemberResult], last: Ranking) -> dict[str, Any]:
    stages = [
        {**result.summary(), "kept": len(result.ranking.results)} for result in done if result.ranking is not None
    ]
    own = last.details or {}
    marks = {"degraded": True} if own.get("degraded") else {}
    return {
        "stages": stages,
        **total_details(done),
        **marks,
    }
