"""Requests that are more than one call takes: split, merged, and never answered by two models."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.errors import AttemptsSpent
from gateway.policy.breaker import Breaker, BreakerSettings, BreakerState
from gateway.policy.bulkhead import Bulkhead, BulkheadSettings, BulkheadState
from gateway.policy.call_limits import ASK_SHARE, CallLimits
from gateway.policy.retry import Retry, RetryBudget, RetrySettings
from gateway.policy.split import MAX_CALLS, MAX_CONCURRENT_PARTS, MAX_RETURNS, Split
from gateway.policy.target import Target
from gateway.policy.target_id import TargetId
from gateway.policy.verification import verify
from gateway.telemetry.recorder import RequestRecorder
from providers.attempts import AttemptCounter
from providers.capabilities import Capabilities, Limits, Scoring
from providers.errors import (
    BadAnswer,
    LimitExceeded,
    Overloaded,
    Rejected,
    RerankError,
    TargetFailed,
    TargetTimeout,
    TooLong,
)
from providers.types import Backend, Call, Ranked, Ranking, RerankRequest, Usage

TARGET = TargetId("one", "m")
POINTWISE = Capabilities(scoring="pointwise")


def known(scoring: Scoring = "pointwise", **limits: int) -> CallLimits:
    return CallLimits(Capabilities(scoring=scoring, limits=Limits(**limits)))


def score(query: Any, document: Any) -> float:
    return float(hash((str(query), str(document))) % 5)


class Pointwise:
    """Scores each document by itself, within a limit; fails where `fault` says so. Knows what it was asked."""

    def __init__(self, fault: Callable[[RerankRequest, int], RerankError | None] = lambda request, call: None) -> None:
        self.asked: list[RerankRequest] = []
        self.fault = fault
        self.running = self.most = 0

    async def rerank(self, request: RerankRequest) -> Ranking:
        self.asked.append(request)
        call = len(self.asked) - 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            error = self.fault(request, call)
            if error is not None:
                raise error
        finally:
            self.running -= 1
        queries = request.queries if request.queries and len(request.queries) > 1 else None
        rows = [
            Ranked(index, score(queries[index] if queries else request.query, document))
            for index, document in enumerate(request.documents)
        ]
        rows = verify(rows, request)
        return Ranking(results=rows, usage=Usage(total_tokens=len(request.documents), search_units=1.0))

    async def ready(self) -> bool:
        return True

    @property
    def sizes(self) -> list[int]:
        return [len(request.documents) for request in self.asked]


class Price:
    """A cent for each document."""

    def of(self, ranking: Ranking, documents: int) -> float:
        return documents / 100

    def at_most(self, request: RerankRequest) -> float:
        return len(request.documents) / 100


def policies(upstream: Backend, limits: CallLimits, retries: int = 0, slots: int = 100, queue: int = 100) -> Split:
    bulkhead = Bulkhead(upstream, BulkheadState(BulkheadSettings(concurrency=slots, queue=queue)), TARGET)
    backoff = RetrySettings(retries=retries, base_backoff=1e-6, max_backoff=1e-6)
    target: Backend = Target(bulkhead, TARGET, "alias", Price())
    return Split(Retry(target, backoff, RetryBudget(backoff)), limits, TARGET, slots)


def asked(documents: int | list[str], **fields: Any) -> RerankRequest:
    texts = [f"d{index}" for index in range(documents)] if isinstance(documents, int) else documents
    call = Call(id="1", recorder=RequestRecorder(), **fields.pop("call", {}))
    return RerankRequest(model="one/m", query="q", documents=list(texts), call=call, **fields)


def pairs(ranking: Ranking) -> list[tuple[int, float]]:
    return [(row.index, row.relevance_score) for row in ranking.results]


SPLITS: dict[str, tuple[dict[str, int], int, list[int]]] = {
    "within the limit": ({"documents": 4}, 4, [4]),
    "one more": ({"documents": 4}, 5, [4, 1]),
    "a multiple": ({"documents": 4}, 12, [4, 4, 4]),
    "limit 1": ({"documents": 1}, 3, [1, 1, 1]),
    "no limit": ({}, 5, [5]),
    "tokens": ({"tokens_per_call": 8}, 5, [2, 2, 1]),
    "documents and tokens": ({"documents": 1, "tokens_per_call": 1000}, 2, [1, 1]),
    "bytes": ({"body_bytes": 1024 + 3 + 140}, 5, [2, 2, 1]),
    "one document over the limit goes alone": ({"tokens_per_call": 1}, 3, [1, 1, 1]),
}


@pytest.mark.parametrize(("limits", "documents", "sizes"), SPLITS.values(), ids=SPLITS)
async def test_calls_keep_to_the_limits(limits: dict[str, int], documents: int, sizes: list[int]) -> None:
    upstream = Pointwise()
    request = asked(documents)
    ranking = await policies(upstream, known(**limits)).rerank(request)
    assert upstream.sizes == sizes
    assert pairs(ranking) == pairs(await Pointwise().rerank(request))


@settings(max_examples=60, deadline=None)
@given(
    documents=st.lists(st.sampled_from(["a", "b", "c", "ü", "dd", "e" * 40]), min_size=1, max_size=40),
    limits=st.fixed_dictionaries(
        {},
        optional={
            "documents": st.integers(1, 50),
            "tokens_per_call": st.integers(1, 99),
            "body_bytes": st.integers(1, 3000),
        },
    ),
    top_n=st.none() | st.integers(1, 50),
    pairwise=st.booleans(),
)
async def test_split_and_merge_equal_one_call(documents, limits, top_n, pairwise) -> None:
    queries = [f"q{index % 3}" for index in range(len(documents))] if pairwise else None
    request = asked(documents, top_n=None if pairwise else top_n, queries=queries)
    whole = await Pointwise().rerank(request)
    split = await policies(Pointwise(), known(**limits)).rerank(request)
    assert pairs(split) == pairs(whole)
    assert split.usage is not None
    assert split.usage.total_tokens == len(documents)


async def test_usage_and_cost_are_summed_and_the_attempt_is_one() -> None:
    request = asked(10, top_n=3)
    ranking = await policies(Pointwise(), known(documents=4)).rerank(request)
    assert (len(ranking.results), ranking.cost, ranking.usage) == (3, 0.1, Usage(total_tokens=10, search_units=3.0))
    assert (ranking.provider, ranking.model, ranking.alias) == ("one", "m", "alias")
    (attempt,) = request.call.recorder.attempts
    assert (attempt.status, attempt.error, attempt.cost) == (200, None, 0.1)
    assert sorted((part.documents, part.status) for part in attempt.parts) == [(2, 200), (4, 200), (4, 200)]


async def test_what_belongs_to_a_document_goes_with_it() -> None:
    upstream = Pointwise()
    request = asked(5, first_stage_scores=[0.0, 0.1, None, 0.3, 0.4], instruction="rank")
    await policies(upstream, known(documents=2)).rerank(request)
    sent = sorted((each.documents[0], each.first_stage_scores, each.instruction) for each in upstream.asked)
    assert sent == [("d0", [0.0, 0.1], "rank"), ("d2", [None, 0.3], "rank"), ("d4", [0.4], "rank")]


async def test_what_was_cut_is_told_by_its_place_in_the_whole_list() -> None:
    class Cuts(Pointwise):
        async def rerank(self, request: RerankRequest) -> Ranking:
            details = {"queue_ms": 1.0, "truncated_documents": 1, "truncated": [{"index": 1, "kept_tokens": 9}]}
            return replace(await super().rerank(request), details=details)

    ranking = await policies(Cuts(), known(documents=2)).rerank(asked(4))
    rows = [{"index": index, "kept_tokens": 9} for index in (1, 3)]
    assert ranking.details == {"truncated_documents": 2, "truncated": rows}


async def test_no_more_parts_at_once_than_one_caller_may_have() -> None:
    upstream = Pointwise()
    await policies(upstream, known(documents=1)).rerank(asked(30))
    assert upstream.most == MAX_CONCURRENT_PARTS


async def test_many_parts_are_called_by_few_tasks() -> None:
    tasks = []

    class Counts(Pointwise):
        async def rerank(self, request: RerankRequest) -> Ranking:
            tasks.append(len(asyncio.all_tasks()))
            return await super().rerank(request)

    before = len(asyncio.all_tasks())
    ranking = await policies(Counts(), known(documents=1)).rerank(asked(MAX_CALLS))
    assert (len(ranking.results), len(tasks)) == (MAX_CALLS, MAX_CALLS)
    assert max(tasks) <= before + MAX_CONCURRENT_PARTS


TOO_MANY: dict[str, dict[str, int]] = {
    "documents": {"documents": 1},
    "bytes": {"body_bytes": 1},
    "tokens": {"tokens_per_call": 1},
}


@pytest.mark.parametrize("limits", TOO_MANY.values(), ids=TOO_MANY)
async def test_a_request_of_too_many_calls_is_refused_and_none_is_made(limits: dict[str, int]) -> None:
    request, upstream = asked(MAX_CALLS + 1), Pointwise()
    with pytest.raises(LimitExceeded, match=r"1001 documents would need more than 1000 calls; send fewer") as raised:
        await policies(upstream, known(**limits)).rerank(request)
    assert (raised.value.status, upstream.asked) == (413, [])
    assert [attempt.error_type for attempt in request.call.recorder.attempts] == ["upstream_rejected"]


async def test_parts_that_are_halved_count_as_the_calls_that_they_become() -> None:
    error = TooLong("payload too large", status=413, is_of_call=True)
    upstream = Pointwise(lambda request, call: error if len(request.documents) > 1 else None)
    with pytest.raises(LimitExceeded, match="more than 1000 calls"):
        await policies(upstream, known(documents=2)).rerank(asked(MAX_CALLS))
    assert len(upstream.asked) <= MAX_CALLS + MAX_CONCURRENT_PARTS


async def test_the_first_part_that_fails_is_the_last_that_is_called() -> None:
    upstream = Pointwise(lambda request, call: TargetFailed("down", status=503) if call == 20 else None)
    with pytest.raises(TargetFailed):
        await policies(upstream, known(documents=1)).rerank(asked(MAX_CALLS))
    assert len(upstream.asked) <= 21 + 2 * MAX_CONCURRENT_PARTS
    assert upstream.running == 0


async def test_parts_without_a_slot_come_back_until_there_is_one() -> None:
    full = Overloaded("full")
    upstream = Pointwise(lambda request, call: full if call in (1, 2, 9, 17) else None)
    request = asked(20)
    ranking = await policies(upstream, known(documents=1)).rerank(request)
    assert pairs(ranking) == pairs(await Pointwise().rerank(request))
    assert len(upstream.asked) == 24


@pytest.mark.parametrize(("every", "most"), [(1, MAX_CONCURRENT_PARTS), (2, 4 * MAX_RETURNS)])
async def test_parts_do_not_come_back_for_ever(every: int, most: int) -> None:
    upstream = Pointwise(lambda request, call: None if call % every else Overloaded("full"))
    with pytest.raises(Overloaded):
        await policies(upstream, known(documents=1)).rerank(asked(MAX_CALLS))
    assert len(upstream.asked) <= most


@pytest.mark.parametrize("slots", [1, 3])
async def test_a_small_bulkhead_without_a_queue_is_enough(slots: int) -> None:
    upstream = Pointwise()
    await policies(upstream, known(documents=1), slots=slots, queue=0).rerank(asked(9))
    assert upstream.most == slots


def fails_once(part: str, error: RerankError) -> Callable[[RerankRequest, int], RerankError | None]:
    left = [error]
    return lambda request, call: left.pop() if part in request.documents and left else None


async def test_a_part_that_fails_is_tried_again_alone() -> None:
    upstream = Pointwise(fails_once("d5", TargetFailed("down", status=503)))
    request = asked(10)
    ranking = await policies(upstream, known(documents=4), retries=1).rerank(request)
    assert sorted(upstream.sizes) == [2, 4, 4, 4]
    assert pairs(ranking) == pairs(await Pointwise().rerank(request))
    (attempt,) = request.call.recorder.attempts
    assert [part.status for part in attempt.parts].count(503) == 1


async def test_a_part_that_timed_out_is_paid_for_though_the_answer_came() -> None:
    upstream = Pointwise(fails_once("d5", TargetTimeout("late", status=504)))
    request = asked(10)
    ranking = await policies(upstream, known(documents=4), retries=1).rerank(request)
    (attempt,) = request.call.recorder.attempts
    assert (ranking.cost, attempt.cost) == (0.1, pytest.approx(0.14))


FAULTS: dict[str, RerankError] = {
    "down": TargetFailed("down", status=500),
    "refused": Rejected("no", status=422),
    "late": TargetTimeout("late"),
    "unusable": BadAnswer("nonsense"),
    "full": Overloaded("full"),
    "one text too long": TooLong("too long", status=413),
}


@pytest.mark.parametrize("error", FAULTS.values(), ids=FAULTS)
async def test_a_part_that_cannot_be_had_fails_the_attempt(error: RerankError) -> None:
    upstream = Pointwise(lambda request, call: error if "d5" in request.documents else None)
    request = asked(10)
    with pytest.raises(type(error)):
        await policies(upstream, known(documents=4)).rerank(request)
    (attempt,) = request.call.recorder.attempts
    assert (attempt.error, attempt.status) == (error.message, error.status)
    assert error.code in {part.error_type for part in attempt.parts}


async def test_a_request_that_is_cancelled_leaves_no_call_behind() -> None:
    request, gate = asked(10), asyncio.Event()

    class Hangs(Pointwise):
        all_run = asyncio.Event()

        async def rerank(self, request: RerankRequest) -> Ranking:
            self.running += 1
            if self.running == 3:
                self.all_run.set()
            try:
                await gate.wait()
            finally:
                self.running -= 1
            raise AssertionError

    upstream = Hangs()
    task = asyncio.create_task(policies(upstream, known(documents=4)).rerank(request))
    await upstream.all_run.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert upstream.running == 0
    (attempt,) = request.call.recorder.attempts
    assert {attempt.error_type, *(part.error_type for part in attempt.parts)} == {"cancelled"}


@pytest.mark.parametrize(("scoring", "says"), [("listwise", "together"), ("unknown", "scoring to pointwise")])
async def test_what_must_not_be_split_is_refused_with_the_limit(scoring: Scoring, says: str) -> None:
    request, upstream = asked(5), Pointwise()
    with pytest.raises(LimitExceeded, match=f"at most 4 documents per call, this one has 5.*{says}") as raised:
        await policies(upstream, known(scoring, documents=4)).rerank(request)
    assert (raised.value.status, upstream.asked) == (413, [])
    assert [attempt.error_type for attempt in request.call.recorder.attempts] == ["upstream_rejected"]


BATCH = TooLong("batch size 10 > maximum allowed batch size 4", status=422, is_of_call=True, max_documents=4)
TOLD: dict[str, tuple[RerankError, list[int]]] = {
    "with its limit": (BATCH, [10, 4, 4, 2]),
    "without": (TooLong("payload too large", status=413, is_of_call=True), [10, 5, 5, 2, 3, 2, 3]),
    "our own, of bytes": (LimitExceeded("too many bytes", status=413), [10, 5, 5, 2, 3, 2, 3]),
}


@pytest.mark.parametrize(("error", "sizes"), TOLD.values(), ids=TOLD)
async def test_a_limit_that_the_target_tells_is_kept(error: RerankError, sizes: list[int]) -> None:
    upstream = Pointwise(lambda request, call: error if len(request.documents) > 4 else None)
    request = asked(10)
    split = policies(upstream, known())
    assert pairs(await split.rerank(request)) == pairs(await Pointwise().rerank(request))
    assert sorted(upstream.sizes) == sorted(sizes)
    upstream.asked.clear()
    await split.rerank(asked(10))
    assert (10 in upstream.sizes) == (error is not BATCH), "what was told once is known"


async def test_halving_ends_where_the_target_refuses_everything() -> None:
    upstream = Pointwise(lambda request, call: TooLong("payload too large", status=413, is_of_call=True))
    with pytest.raises(TooLong):
        await policies(upstream, known()).rerank(asked(1000))
    assert len(upstream.asked) <= 20


async def test_one_text_that_is_too_long_is_no_reason_to_split() -> None:
    upstream = Pointwise(lambda request, call: TooLong("8193 tokens", status=400))
    with pytest.raises(TooLong):
        await policies(upstream, known()).rerank(asked(10))
    assert len(upstream.asked) == 1


async def test_an_open_breaker_is_probed_by_one_part_and_then_serves_all(time: Any) -> None:
    upstream, state = Pointwise(), BreakerState(BreakerSettings(failures=1))
    state.record_failure(time.now, False)
    time.now += 1000
    target = Target(upstream, TARGET)
    split = Split(Breaker(target, state, TARGET, time.clock), known(documents=4), TARGET, 8)
    request = asked(10)
    assert len((await split.rerank(request)).results) == 10
    assert not state.ejected


async def test_parts_count_as_one_attempt_and_their_retries_each() -> None:
    request = asked(10, call={"attempts": AttemptCounter(2)})
    upstream = Pointwise(
        lambda request, call: TargetFailed("down", status=503) if len(request.documents) == 2 else None
    )
    with pytest.raises(TargetFailed):
        await policies(upstream, known(documents=4), retries=5).rerank(request)
    assert len(upstream.asked) == 4
    spent = asked(10, call={"attempts": AttemptCounter(0)})
    with pytest.raises(AttemptsSpent):
        await policies(upstream, known(documents=4)).rerank(spent)


async def test_parts_that_were_not_scored_alike_are_no_answer() -> None:
    calls = itertools.count()

    class Mixed(Pointwise):
        async def rerank(self, request: RerankRequest) -> Ranking:
            details = {"degraded": True} if next(calls) else None
            return replace(await super().rerank(request), details=details)

    with pytest.raises(BadAnswer, match="not all scored alike"):
        await policies(Mixed(), known(documents=4)).rerank(asked(10))


class WatchedLimits(CallLimits):
    """Knows in which threads texts were weighed."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.threads: list[threading.Thread] = []

    def divide(self, request: RerankRequest) -> list[tuple[int, int]]:
        self.threads.append(threading.current_thread())
        return super().divide(request)


async def test_texts_of_a_large_request_that_was_refused_are_weighed_in_a_thread() -> None:
    upstream = Pointwise(lambda request, call: None if call else TooLong("too large", is_of_call=True))
    limits = WatchedLimits(Capabilities(scoring="pointwise", limits=Limits(body_bytes=1 << 30)))
    request = asked(6)
    request = replace(request, call=replace(request.call, body_bytes=8 << 20))
    await Split(upstream, limits, TARGET, 4).rerank(request)
    assert len(upstream.asked) == 3
    assert limits.threads
    assert threading.main_thread() not in limits.threads


class SilentSource:
    """A server that never answers."""

    async def ask(self) -> None:
        await asyncio.Event().wait()


async def test_a_silent_server_is_not_asked_for_its_limits_beyond_the_deadline() -> None:
    upstream = Pointwise()
    limits = CallLimits(Capabilities(scoring="pointwise", limits=Limits(documents=4)), source=SilentSource())
    request = asked(6, call={"deadline": time.monotonic()})
    async with asyncio.timeout(30):
        await Split(upstream, limits, TARGET, 4).rerank(request)
    assert sorted(upstream.sizes) == [2, 4]


async def test_a_request_waits_for_a_silent_server_no_longer_than_a_share_of_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float | None] = []
    timeout = asyncio.timeout

    def watched(seconds: float | None) -> asyncio.Timeout:
        waits.append(seconds)
        return timeout(0)

    monkeypatch.setattr(asyncio, "timeout", watched)
    limits = CallLimits(POINTWISE, source=SilentSource())
    await limits.ask(time.monotonic() + 100)
    (seconds,) = waits
    assert seconds == pytest.approx(100 * ASK_SHARE, rel=0.1)
