"""Attempts: what is recorded of each, and that calls of one request at the same time keep out of each other's."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from gateway.api.dialects.unified.answer import attempts_to_show
from gateway.policy.fallback import Step
from gateway.policy.hedge import Hedge, HedgeBudget, HedgeSettings
from gateway.policy.key_pool import KeyedBackend, KeyPool
from gateway.policy.key_state import KeyState
from gateway.policy.latency import LatencyStats
from gateway.policy.target import Target
from gateway.policy.target_id import TargetId
from gateway.telemetry.context import Trace
from gateway.telemetry.exchange import Exchange
from gateway.telemetry.recorder import RequestRecorder
from providers.attempts import AttemptRecord, Recorder
from providers.errors import CredentialsRejected, RateLimited, RerankError, TargetFailed
from providers.types import Call, Ranked, Ranking, RerankRequest

GOOD = Ranking(results=[Ranked(0, 1.0), Ranked(1, 0.5)], details={"queue_ms": 1.0})
TRACE = Trace(trace_id=0xABC, parent=None, server_span=1, rerank_span=2, sampled=True)
Rerank = Callable[[RerankRequest], Awaitable[Ranking]]


class Upstream:
    """Answers by the key, all calls of one key at once when as many as expected have come; keeps the spans it saw."""

    def __init__(self, outcomes: dict[str, Any], calls: int) -> None:
        self._outcomes = outcomes
        self._barriers = {key: asyncio.Barrier(calls) for key in outcomes}
        self.spans: list[tuple[str, int]] = []

    def pool(self, time: Any) -> KeyPool:
        keys = [KeyedBackend(_Called(self.answer, key), KeyState(key, 1.0)) for key in self._outcomes]
        return KeyPool(keys, "cohere", time.clock)

    async def answer(self, request: RerankRequest, key: str) -> Ranking:
        assert request.attempt is not None
        sent = {**request.call.headers, **(request.attempt.headers or {})}
        self.spans.append((key, int(sent["traceparent"].split("-")[2], 16)))
        await self._barriers[key].wait()
        outcome = self._outcomes[key]
        if isinstance(outcome, Exception):
            raise outcome
        assert isinstance(outcome, Ranking)
        return outcome


class _Called:
    """A backend that is a function."""

    def __init__(self, rerank: Callable[..., Awaitable[Ranking]], *more: Any) -> None:
        self._rerank, self._more = rerank, more

    async def rerank(self, request: RerankRequest) -> Ranking:
        return await self._rerank(request, *self._more)

    async def ready(self) -> bool:
        return True

    async def aclose(self) -> None:
        """Nothing is held."""


def asked(recorder: Recorder | None = None) -> RerankRequest:
    headers = {"x-request-id": "1", "traceparent": TRACE.traceparent(TRACE.rerank_span)}
    call = Call(id="1", headers=headers, recorder=recorder or RequestRecorder(trace=TRACE))
    return RerankRequest(model="alias", query="q", documents=["a", "b"], call=call)


def checked(request: RerankRequest) -> list[AttemptRecord]:
    """The records. Each is complete, and its span is nobody else's."""
    records = list(request.call.recorder.attempts)
    assert all(0 < record.start <= record.end for record in records)
    assert all(record.error_type or record.error is None for record in records)
    assert len({record.span_id for record in records}) == len(records)
    return records


async def twice(target: Rerank, request: RerankRequest) -> None:
    """Two calls of the very same request at once."""
    await asyncio.gather(target(request), target(request), return_exceptions=True)


@pytest.mark.parametrize("under_one_target", [False, True])
@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        pytest.param({"only": GOOD}, {("only", 200, ""): 2}, id="both served"),
        pytest.param({"only": TargetFailed("x", status=500)}, {("only", 500, "upstream_error"): 2}, id="both failed"),
        pytest.param(
            {"old": CredentialsRejected("no", status=401), "new": GOOD},
            {("old", 401, "upstream_credentials"): 2, ("new", 200, ""): 2},
            id="both go on with the second key",
        ),
        pytest.param(
            {"a": RateLimited("slow", status=429), "b": CredentialsRejected("no", status=403), "c": GOOD},
            {("a", 429, "rate_limited"): 2, ("b", 403, "upstream_credentials"): 2, ("c", 200, ""): 2},
            id="both go on with the third key",
        ),
        pytest.param(
            {"a": RateLimited("slow", status=429), "b": RateLimited("slow", status=429)},
            {("a", 429, "rate_limited"): 2, ("b", 429, "rate_limited"): 2},
            id="no key is left to either",
        ),
    ],
)
async def test_calls_at_the_same_time_have_records_of_their_own(
    time: Any, outcomes: dict[str, Any], expected: Any, under_one_target: bool
) -> None:
    time.chances = [0.0] * 20
    upstream, request = Upstream(outcomes, calls=2), asked()
    pool = upstream.pool(time)
    if under_one_target:  # as a policy would that splits a request below its target

        async def both(part: RerankRequest) -> Ranking:
            return (await asyncio.gather(pool.rerank(part), pool.rerank(part)))[0]

        await asyncio.gather(Target(_Called(both), TargetId("cohere", "m")).rerank(request), return_exceptions=True)
    else:
        await twice(Target(pool, TargetId("cohere", "m")).rerank, request)
    records = checked(request)
    assert Counter((record.key, record.status, record.error_type) for record in records) == expected
    assert {(record.provider, record.model) for record in records} == {("cohere", "m")}
    assert sorted((record.key, record.span_id) for record in records) == sorted(upstream.spans)
    assert [record.details for record in records if not record.error] == [GOOD.details] * expected.get(
        (list(outcomes)[-1], 200, ""), 0
    )


async def test_the_next_key_begins_when_the_last_one_is_over(time: Any) -> None:
    time.chances = [0.0] * 9
    upstream, request = Upstream({"old": CredentialsRejected("no", status=401), "new": GOOD}, calls=1), asked()
    await Target(upstream.pool(time), TargetId("cohere", "m")).rerank(request)
    old, new = checked(request)
    assert (old.key, old.error, new.key, new.error) == ("old", "key old: no", "new", None)
    assert old.start <= old.end <= new.start <= new.end


async def test_hedging_records_winner_and_loser(time: Any) -> None:
    spans: dict[str, int] = {}

    async def served(request: RerankRequest, name: str) -> Ranking:
        assert request.attempt is not None
        assert request.attempt.headers is not None
        spans[name] = int(request.attempt.headers["traceparent"].split("-")[2], 16)
        if name == "slow":
            await asyncio.Event().wait()
        return GOOD

    slow, quick = (Target(_Called(served, name), TargetId(name, "m")) for name in ("slow", "quick"))
    budget = HedgeBudget()
    for _ in range(10):
        budget.deposit()
    request = asked()
    ranking = await Hedge(Step(slow), Step(quick), HedgeSettings(after=1e-6), LatencyStats(), budget).rerank(request)
    assert ranking.provider == "quick"
    records = {record.provider: record for record in checked(request)}
    assert {name: record.error_type for name, record in records.items()} == {"quick": "", "slow": "cancelled"}
    assert {name: record.span_id for name, record in records.items()} == spans
    assert (records["quick"].details, records["slow"].details) == (GOOD.details, None)


async def test_a_copy_with_a_recorder_of_its_own_leaves_no_trace_in_the_request(time: Any) -> None:
    """As a shadow of a request will have."""
    upstream, request = Upstream({"only": GOOD}, calls=2), asked()
    apart = RequestRecorder(trace=TRACE)
    shadow = replace(request, call=replace(request.call, recorder=apart))
    target = Target(upstream.pool(time), TargetId("cohere", "m"))
    await asyncio.gather(target.rerank(request), target.rerank(shadow))
    assert len(checked(request)) == len(apart.attempts) == 1
    assert request.call.recorder.attempts[0].span_id != apart.attempts[0].span_id


OUTCOMES: list[Any] = [
    pytest.param(GOOD, (200, None, ""), id="served"),
    pytest.param(TargetFailed("broken", status=503), (503, "broken", "upstream_error"), id="failed"),
    pytest.param(Ranking(results=[Ranked(7, 1.0)]), (None, ..., "upstream_bad_answer"), id="not a ranking of these"),
    pytest.param(ValueError("of our own"), (None, "internal error", "internal_error"), id="a fault of ours"),
    pytest.param(asyncio.CancelledError(), (None, "cancelled", "cancelled"), id="cancelled"),
]


@pytest.mark.parametrize(("outcome", "expected"), OUTCOMES)
async def test_what_a_target_records(scripted: Any, outcome: Any, expected: Any) -> None:
    request = asked()
    target = Target(scripted([outcome]), TargetId("cohere", "m"))
    await asyncio.gather(target.rerank(request), return_exceptions=True)
    (record,) = checked(request)
    status, error, error_type = expected
    assert (record.status, record.error_type) == (status, error_type)
    assert error is ... or record.error == error


@pytest.mark.parametrize(("outcome", "expected"), OUTCOMES)
async def test_nothing_depends_on_the_recorder(scripted: Any, outcome: Any, expected: Any) -> None:
    """The default keeps nothing, and targets answer as with any other."""
    request = replace(asked(), call=Call(id="1"))
    told = await asyncio.gather(Target(scripted([outcome]), TargetId("p", "m")).rerank(request), return_exceptions=True)
    assert isinstance(told[0], Ranking) == (expected[0] == 200)
    assert request.call.recorder.attempts == ()


def test_what_is_over_does_not_change() -> None:
    record = AttemptRecord(provider="p", model="m", start=1.0, end=2.0)
    call = Call(id="1")
    for thing, field in ((record, "end"), (call, "deadline"), (call, "id"), (call, "recorder")):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(thing, field, 3.0)


def test_what_a_caller_sees_of_attempts() -> None:
    recorder = RequestRecorder()
    recorder.add_skip("nobody", "m", RerankError("unknown"), has_target=False)
    recorder.add_skip("cohere", "m", RerankError("breaker open"))
    recorder.add_attempt(
        AttemptRecord(provider="cohere", model="m", start=1.0, end=1.0126, status=401, error="key old: no", key="old",
                      error_type="upstream_credentials", span_id=7)
    )  # fmt: skip
    recorder.add_attempt(AttemptRecord(provider="jina", model="n", start=1, end=2, status=200, details={"a": 1}))
    call = Call(id="1", recorder=recorder)
    assert msgspec.json.encode(attempts_to_show(call, least=2)) == (
        b'[{"provider":"nobody","model":"m","error":"unknown","latency":0},'
        b'{"provider":"cohere","model":"m","error":"breaker open","latency":0},'
        b'{"provider":"cohere","model":"m","status":401,"error":"key old: no","latency":13},'
        b'{"provider":"jina","model":"n","status":200,"latency":1000}]'
    )
    assert attempts_to_show(call, least=5) is None
    assert [attempt.provider for attempt in Exchange("unified", call, 0.0).attempts] == ["cohere", "cohere", "jina"]
