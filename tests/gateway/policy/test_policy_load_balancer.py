"""A target at several addresses: who is asked, what the caller is told, and how the time is shared."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import AttemptsSpent, BreakerOpen, KeysCooling, LimitReached, StoreDown
from gateway.policy.fallback import Fallback, Step
from gateway.policy.latency import LatencyStats
from gateway.policy.load_balancer import MAX_TRIES, LoadBalancer
from gateway.policy.strategy import Candidate, selection_policy
from providers.errors import (
    BadAnswer,
    LimitExceeded,
    Overloaded,
    RateLimited,
    Rejected,
    RerankError,
    TargetFailed,
    TargetTimeout,
    TooLong,
    Unreachable,
    Unsupported,
)
from providers.types import Ranked, Ranking

GOOD = Ranking(results=[Ranked(0, 0.5), Ranked(1, 0.25)])
DEAD = Unreachable("dead")
OPEN = BreakerOpen("open", retry_after=9.0)
SOON = BreakerOpen("soon", retry_after=2.0)
FULL = Overloaded("full")


def balancer(time: Any, *addresses: Any) -> LoadBalancer:
    candidates = [Candidate(Step(address), 1.0, LatencyStats(), str(place)) for place, address in enumerate(addresses)]
    return LoadBalancer(selection_policy("ordered", candidates, time.clock), time.clock)


ELSEWHERE = [
    DEAD,
    TargetTimeout("late"),
    BadAnswer("rubbish"),
    TargetFailed("x", status=500),
    RateLimited("busy", status=429),
    FULL,
    OPEN,
    KeysCooling("keys cool"),
]


@pytest.mark.parametrize("error", ELSEWHERE, ids=lambda error: type(error).__name__)
async def test_what_is_about_the_address_goes_to_the_next(
    time: Any, scripted: Any, request_with: Any, error: RerankError
) -> None:
    first, second = scripted([error]), scripted([GOOD])
    assert await balancer(time, first, second).rerank(request_with()) == GOOD
    assert [len(first.requests), len(second.requests)] == [1, 1]


HERE = [
    Rejected("no", status=400),
    TooLong("long", status=400),
    LimitExceeded("big"),
    Unsupported("pictures"),
    LimitReached("enough"),
    AttemptsSpent("spent"),
]


@pytest.mark.parametrize("error", HERE, ids=lambda error: type(error).__name__)
async def test_what_is_about_the_request_ends_it(
    time: Any, scripted: Any, request_with: Any, error: RerankError
) -> None:
    first, second = scripted([error]), scripted([GOOD])
    with pytest.raises(type(error)):
        await balancer(time, first, second).rerank(request_with())
    assert not second.requests


OURS = [LimitReached("enough"), AttemptsSpent("spent"), StoreDown("down")]


@pytest.mark.parametrize("error", OURS, ids=lambda error: type(error).__name__)
async def test_a_bound_of_ours_hides_no_answer_of_an_address(
    time: Any, scripted: Any, request_with: Any, error: RerankError
) -> None:
    skipped, dead, bounded, unasked = scripted([OPEN]), scripted([DEAD]), scripted([error]), scripted([GOOD])
    with pytest.raises(Unreachable) as caught:
        await balancer(time, skipped, dead, bounded, unasked).rerank(request_with())
    assert caught.value.has_skipped
    assert not unasked.requests
    with pytest.raises(type(error)):
        await balancer(time, skipped, bounded, unasked).rerank(request_with())


@pytest.mark.parametrize(
    ("errors", "asked"),
    [
        pytest.param([DEAD] * 5, 3, id="no more than three are called"),
        pytest.param([OPEN, OPEN, DEAD, DEAD, DEAD, DEAD], 5, id="those that are skipped do not count"),
        pytest.param([FULL] * 5, 5, id="nor do full queues of our own"),
    ],
)
async def test_how_many_are_asked(time: Any, scripted: Any, request_with: Any, errors: Any, asked: int) -> None:
    assert MAX_TRIES == 3
    addresses = [scripted([error]) for error in errors]
    with pytest.raises(RerankError):
        await balancer(time, *addresses).rerank(request_with())
    assert [len(address.requests) for address in addresses] == [1] * asked + [0] * (len(errors) - asked)


@pytest.mark.parametrize(
    ("scripts", "message", "skipped"),
    [
        pytest.param(lambda: [Unreachable("dead"), BadAnswer("x")], "dead", False, id="what the first said"),
        pytest.param(lambda: [OPEN, Unreachable("dead")], "dead", True, id="what was said, not why one was skipped"),
        pytest.param(lambda: [FULL, Unreachable("dead")], "dead", False, id="not our own queue"),
        pytest.param(lambda: [OPEN, SOON], "soon", False, id="all skipped: the one that is back first"),
        pytest.param(lambda: [FULL, OPEN], "open", False, id="full and skipped: the skip, so that it is called"),
        pytest.param(lambda: [FULL, Overloaded("y")], "full", False, id="all full"),
    ],
)
async def test_what_the_caller_is_told(
    time: Any, scripted: Any, request_with: Any, scripts: Any, message: str, skipped: bool
) -> None:
    with pytest.raises(RerankError) as caught:
        await balancer(time, *[scripted([error]) for error in scripts()]).rerank(request_with())
    assert (caught.value.message, caught.value.has_skipped) == (message, skipped)


async def test_an_address_that_was_skipped_is_called_before_the_request_fails(
    time: Any, scripted: Any, request_with: Any
) -> None:
    dead, ejected = scripted([Unreachable("dead")]), scripted([OPEN, GOOD])
    route = Fallback([Step(balancer(time, dead, ejected))], time.clock)
    assert await route.rerank(request_with()) == GOOD
    assert ejected.requests[1].call.bypass_cooldowns


async def test_a_fallback_comes_before_an_address_that_was_skipped(time: Any, scripted: Any, request_with: Any) -> None:
    dead, ejected, spare = scripted([Unreachable("dead")]), scripted([OPEN, GOOD]), scripted([GOOD])
    route = Fallback([Step(balancer(time, dead, ejected)), Step(spare)], time.clock)
    assert await route.rerank(request_with()) == GOOD
    assert [len(each.requests) for each in (dead, ejected, spare)] == [1, 1, 1]


async def test_shares_of_the_time(time: Any, scripted: Any, request_with: Any) -> None:
    """Half of what is left each; what a skipped address does not use falls to the next; the last one gets all."""
    slow, skipped, last = scripted([DEAD], 4.0, time), scripted([OPEN]), scripted([GOOD])
    start = time.now
    await balancer(time, slow, skipped, last).rerank(request_with(8.0, time))
    deadlines = [address.requests[0].call.deadline - start for address in (slow, skipped, last)]
    assert deadlines == pytest.approx([4.0, 6.0, 8.0])


async def test_the_last_try_gets_all_the_time_though_there_are_more_addresses(
    time: Any, scripted: Any, request_with: Any
) -> None:
    addresses = [scripted([DEAD]) for _ in range(MAX_TRIES + 1)]
    request = request_with(8.0, time)
    with pytest.raises(Unreachable):
        await balancer(time, *addresses).rerank(request)
    assert addresses[MAX_TRIES - 1].requests[0].call.deadline == request.call.deadline
