"""A model that is made of other models: how one of them is asked, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from gateway.policy.clock import Clock
from gateway.policy.merging import cuts_of, sum_usages
from providers.attempts import AttemptRecord, Recorder, RunningAttempt
from providers.errors import InvalidRequest, RerankError
from providers.types import SPANS_UNAVAILABLE, Backend, Ranking, RerankRequest, Span, Usage

_COUNTS = ("cached_documents",)
"""Details of a ranking that are numbers of documents, so that they can be added."""


class Member(Struct, frozen=True):
    """One of the models that another is made of.

    Attributes:
        name: as the configuration writes it.
        backend: what serves that name, with its fallbacks.
        is_incoming: it is a passthrough, and stands for the order in which the documents came.
        instruction: what is set for that name, and holds where the request has none.
    """

    name: str
    backend: Backend
    is_incoming: bool = False
    instruction: str | None = None


class MemberResult(Struct, frozen=True):
    """What one member made of a request.

    Attributes:
        member: which one.
        documents: how many it was asked to rank.
        seconds: how long it took.
        ranking: its answer; None if it failed.
        error: why it failed.
        places: where its documents are among the caller's; None if they are the caller's.
    """

    member: Member
    documents: int
    seconds: float
    ranking: Ranking | None = None
    error: RerankError | None = None
    places: Sequence[int] | None = None

    def place(self, index: int) -> int:
        """Where a document of its is among the caller's."""
        return index if self.places is None else self.places[index]

    def summary(self) -> dict[str, Any]:
        """For `extra_fields`: figures and names, no texts."""
        shown: dict[str, Any] = {
            "model": self.member.name,
            "documents": self.documents,
            "latency": round(self.seconds * 1000),
        }
        if self.ranking is not None and self.ranking.cost is not None:
            shown["cost"] = self.ranking.cost
        if self.error is not None:
            shown["error_type"] = self.error.code
        return shown


def evidence(rankings: Sequence[Ranking]) -> dict[str, Any]:
    """`spans` and `warnings` of several rankings of the same documents: the spans of the first that tells any."""
    warnings = dict.fromkeys(warning for ranking in rankings for warning in ranking.warnings)
    spans: dict[int, Sequence[Span]] = {}
    for ranking in rankings:
        spans = {**(ranking.spans or {}), **spans}
    told = any(ranking.spans is not None for ranking in rankings)
    kept = tuple(warning for warning in warnings if not (told and warning == SPANS_UNAVAILABLE))
    return {"spans": spans if told else None, "warnings": kept}


class MemberRecorder(Recorder, frozen=True, kw_only=True):
    """Reports to a request's own recorder, and says for which member an attempt was made.

    Attributes:
        parent: the request's, or that of the member which this one is a member of.
        member: its name.
        attempts: those of this member alone, since others may be asked at the same time.
    """

    parent: Recorder
    member: str
    attempts: list[AttemptRecord] = field(default_factory=list)

    def begin_attempt(self, provider: str, model: str) -> RunningAttempt:
        attempt = self.parent.begin_attempt(provider, model)
        attempt.recorder = self
        return attempt

    def add_attempt(self, record: AttemptRecord) -> None:
        self.attempts.append(record)
        self.parent.add_attempt(replace(record, member=self._place(record.member)))

    def add_skip(
        self, provider: str, model: str, error: RerankError, *, has_target: bool = True, member: str = ""
    ) -> None:
        self.parent.add_skip(provider, model, error, has_target=has_target, member=self._place(member))

    def add_wait(self, start: float, end: float) -> None:
        self.parent.add_wait(start, end)

    def _place(self, inner: str) -> str:
        return f"{self.member} > {inner}" if inner else self.member


async def ask(member: Member, request: RerankRequest, clock: Clock) -> MemberResult:
    """Let a member rank the request, with a record of its own. Raises nothing but cancellation and faults of ours."""
    call = replace(request.call, recorder=MemberRecorder(parent=request.call.recorder, member=member.name))
    own = replace(
        request,
        model=member.name,
        call=call,
        scores=None,
        min_score=None,
        instruction=member.instruction if request.instruction is None else request.instruction,
    )
    count, start = len(request.documents), clock.now()
    try:
        ranking = await member.backend.rerank(own)
    except RerankError as error:
        return MemberResult(member, count, clock.now() - start, error=error)
    return MemberResult(member, count, clock.now() - start, ranking)


def refuse_pairs(request: RerankRequest, name: str) -> None:
    """Raises InvalidRequest for a score request, whose every pair must get a score of one model."""
    if request.queries is not None:
        raise InvalidRequest(
            f'the model "{name}" is made of several models and gives no scores of pairs; name one of them'
        )


def total_cost(results: Iterable[MemberResult]) -> float | None:
    """What all answers cost together, in US dollars; None if that of one is unknown."""
    costs = [result.ranking.cost for result in results if result.ranking is not None]
    return None if None in costs else sum(cost for cost in costs if cost is not None)


def total_usage(results: Iterable[MemberResult]) -> Usage | None:
    """What all answers used together; a count that one lacks is unknown."""
    return sum_usages([result.ranking.usage for result in results if result.ranking is not None])


def total_details(results: Iterable[MemberResult]) -> dict[str, Any]:
    """What the answers tell of the caller's documents, put together.

    Numbers are added, but no document that was cut is counted twice: where members tell only how many, the greatest
    number counts. Of a document that several members have cut, what the one kept that kept least is told.
    """
    details = [(result, result.ranking.details) for result in results if result.ranking and result.ranking.details]
    totals = {name: sum(each.get(name, 0) for _, each in details) for name in _COUNTS}
    found: dict[str, Any] = {name: total for name, total in totals.items() if total}
    cuts = [{**cut, "index": result.place(cut["index"])} for result, each in details for cut in cuts_of(each)]
    least = {cut["index"]: cut for cut in sorted(cuts, key=_kept, reverse=True)}
    if least:
        found["truncated"] = [least[index] for index in sorted(least)]
    if truncated := max(len(least), *(each.get("truncated_documents", 0) for _, each in details), 0):
        found["truncated_documents"] = truncated
    if saved := [each["cache"] for _, each in details if "cache" in each]:
        found["cache"] = {name: sum(each[name] for each in saved) for name in saved[0]}
    if queries := [each["truncated_query"] for _, each in details if "truncated_query" in each]:
        found["truncated_query"] = min(queries, key=_kept)
    return found


def _kept(cut: dict[str, int]) -> int:
    """Characters that were kept of it; a local model tells tokens, of about four."""
    return cut.get("kept", 4 * cut.get("kept_tokens", 0))
