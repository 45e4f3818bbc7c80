"""Fallback: which targets are called, in which order, for how long, and whose error the caller gets."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BreakerOpen, DeadlineExceeded, UnknownModel
from gateway.policy.deadline import time_share
from gateway.policy.fallback import Fallback, Step, UnknownTarget
from providers.attempts import AttemptRecord
from providers.errors import Overloaded, Rejected, RerankError, TargetFailed, TargetTimeout
from providers.types import Ranked, Ranking

GOOD = Ranking(results=[Ranked(0, 1.0), Ranked(1, 0.5)])
BAD = TargetFailed("bad", status=500)
UNKNOWN = UnknownModel("unknown")
OPEN = BreakerOpen("open", retry_after=9)
FULL = Overloaded("full", retry_after=1)


def attempt(provider: str, model: str, error: str, seconds: float) -> AttemptRecord:
    return AttemptRecord(provider=provider, model=model, start=0.0, end=seconds, error=error, error_type="failed")


def fallback(time: Any, *backends: Any) -> Fallback:
    return Fallback([Step(backend) for backend in backends], time.clock)


@pytest.mark.parametrize(
    ("scripts", "asked"),
    [
        pytest.param([[GOOD], [GOOD]], [1, 0], id="the first serves"),
        pytest.param([[BAD], [GOOD]], [1, 1], id="the second serves"),
        pytest.param([[Rejected("x", status=400)], [GOOD]], [1, 1], id="a 400 moves on too"),
        pytest.param([[OPEN], [GOOD]], [1, 1], id="breaker open"),
        pytest.param([[FULL], [GOOD]], [1, 1], id="bulkhead full"),
        pytest.param([[OPEN, GOOD]], [2], id="the only one is asked in spite of its breaker"),
        pytest.param([[OPEN], [OPEN, GOOD]], [2, 2], id="all breakers open: all are asked in order"),
        pytest.param([[FULL], [OPEN, GOOD]], [1, 2], id="one full, the other open: the open one is asked"),
        pytest.param([[OPEN, GOOD], [BAD]], [2, 1], id="the others failed: the open one may be well again"),
        pytest.param([[OPEN, GOOD], [UNKNOWN]], [2, 1], id="a fallback that does not exist takes nobody's last target"),
    ],
)
async def test_who_is_asked(time: Any, scripted: Any, request_with: Any, scripts: Any, asked: list[int]) -> None:
    backends = [scripted(script) for script in scripts]
    assert await fallback(time, *backends).rerank(request_with()) == GOOD
    assert [len(backend.requests) for backend in backends] == asked


@pytest.mark.parametrize(
    ("scripts", "message"),
    [
        pytest.param([[BAD], [Rejected("other", status=400)]], "bad", id="the first error"),
        pytest.param([[OPEN, Rejected("other", status=400)], [BAD]], "bad", id="of those asked the first"),
        pytest.param([[FULL], [BAD]], "bad", id="not the full queue"),
        pytest.param([[FULL], [FULL]], "full", id="nothing but full queues"),
        pytest.param([[OPEN, BAD], [OPEN]], "bad", id="what the call past the breaker found"),
    ],
)
async def test_whose_error_the_caller_gets(
    time: Any, scripted: Any, request_with: Any, scripts: Any, message: str
) -> None:
    with pytest.raises(RerankError) as caught:
        await fallback(time, *map(scripted, scripts)).rerank(request_with())
    assert caught.value.message == message


async def test_a_request_that_a_target_refused_goes_through_no_open_breaker(
    time: Any, scripted: Any, request_with: Any
) -> None:
    opened, refusing = scripted([OPEN]), scripted([Rejected("no", status=400)])
    with pytest.raises(Rejected):
        await fallback(time, opened, refusing).rerank(request_with())
    assert len(opened.requests) == 1


async def test_past_the_deadline_no_breaker_is_bypassed(time: Any, scripted: Any, request_with: Any) -> None:
    opened, slow = scripted([OPEN]), scripted([BAD], takes=5.0, time=time)
    request = request_with(left=4.0, time=time)
    request.call.recorder.add_attempt(attempt("a", "m", "slow", 4.0))
    with pytest.raises(DeadlineExceeded):
        await fallback(time, opened, slow).rerank(request)
    assert len(opened.requests) == 1


async def test_shares_of_the_time(time: Any, scripted: Any, request_with: Any) -> None:
    slow, quick, last = scripted([BAD], 3.0, time), scripted([BAD], 0.5, time), scripted([GOOD], 0.0, time)
    start = time.now
    await fallback(time, slow, quick, last).rerank(request_with(9.0, time))
    deadlines = [backend.requests[0].call.deadline - start for backend in (slow, quick, last)]
    assert deadlines == pytest.approx([3.0, 6.0, 9.0])


async def test_what_answers_at_once_needs_no_share(time: Any, scripted: Any, request_with: Any) -> None:
    slow, last = scripted([BAD], 9.0, time), scripted([GOOD])
    request = request_with(9.0, time)
    assert await Fallback([Step(slow), Step(last, time_shares=0)], time.clock).rerank(request) == GOOD
    assert slow.requests[0].call.deadline == request.call.deadline


async def test_504_names_the_attempt_that_used_the_time_up(time: Any, scripted: Any, request_with: Any) -> None:
    request = request_with(2.0, time)
    request.call.recorder.add_attempt(attempt("jina", "a", "broken", 0.1))
    request.call.recorder.add_attempt(attempt("cohere", "b", "no complete answer", 1.9))
    with pytest.raises(DeadlineExceeded, match=r"most of it by cohere/b \(1900 ms: no complete answer\)"):
        await fallback(time, scripted([BAD]), scripted([TargetTimeout("late")], 2.0, time)).rerank(request)


async def test_what_the_attempts_share_is_shared_by_all(time: Any, scripted: Any, request_with: Any) -> None:
    first, second = scripted([BAD]), scripted([GOOD])
    request = request_with(1.0, time)
    await fallback(time, first, second).rerank(request)
    assert first.requests[0].call.recorder is request.call.recorder
    assert first.requests[0].call.headers is request.call.headers


@given(
    st.lists(st.integers(min_value=0, max_value=3), min_size=1, max_size=8),
    st.floats(min_value=0.001, max_value=3600),
    st.lists(st.floats(min_value=0, max_value=1), min_size=8, max_size=8),
)
def test_shares_never_exceed_what_is_left_and_leave_room(parts: list[int], left: float, used: list[float]) -> None:
    for position, own in enumerate(parts):
        later = sum(parts[position + 1 :])
        if not own:
            continue
        mine = time_share(left, own, later)
        assert 0 < mine <= left * (1 + 1e-9)
        assert not later or mine < left, "a later target still fits"
        left = max(left - mine * used[position], 1e-9)


async def test_an_unknown_target_raises_another_error_each_time(request_with: Any) -> None:
    """The same one would gather the frames of every request that it met, and their texts with them."""
    target = UnknownTarget(partial(UnknownModel, "unknown", "nobody/m"), "nobody", "m")
    raised = []
    for _ in range(3):
        with pytest.raises(UnknownModel) as caught:
            await target.rerank(request_with())
        raised.append(caught.value)
    assert len(set(map(id, raised))) == 3
