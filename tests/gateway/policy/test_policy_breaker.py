"""The breaker: what ejects a target, for how long, and how it comes back."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from gateway.errors import BreakerOpen, DeadlineExceeded, KeysCooling, KeysRejected
from gateway.policy.breaker import Breaker, BreakerSettings, BreakerState
from gateway.policy.target_id import TargetId
from providers.errors import (
    AnswerTooLarge,
    BadAnswer,
    CredentialsRejected,
    InvalidRequest,
    LimitExceeded,
    NotReady,
    Overloaded,
    RateLimited,
    Rejected,
    RerankError,
    TargetFailed,
    TargetTimeout,
    Unreachable,
    Unsupported,
)

FAILED = TargetFailed("failed", status=500)
NOW = 0.0


def breaker(time: Any, backend: Any, **chosen: Any) -> Breaker:
    return Breaker(backend, BreakerState(BreakerSettings(**chosen)), TargetId("jina", "m"), time.clock)


async def fail(guard: Breaker, request: Any, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(RerankError):
            await guard.rerank(request)


@pytest.mark.parametrize(
    ("error", "takes", "ejected"),
    [
        pytest.param(Unreachable("x"), 0, True, id="unreachable"),
        pytest.param(BadAnswer("x"), 0, True, id="malformed 200"),
        pytest.param(AnswerTooLarge("x", status=200), 0, False, id="an answer over our own limit"),
        pytest.param(FAILED, 0, True, id="500"),
        pytest.param(TargetTimeout("x"), 1.5, True, id="timeout of a patient call"),
        pytest.param(TargetTimeout("x"), 0.5, False, id="timeout of a call in a hurry"),
        pytest.param(Rejected("x", status=400), 0, False, id="400"),
        pytest.param(CredentialsRejected("x", status=401), 0, False, id="401"),
        pytest.param(RateLimited("x", status=429), 0, False, id="429"),
        pytest.param(Overloaded("x"), 0, False, id="our own queue full"),
        pytest.param(NotReady("x"), 0, False, id="still loading"),
    ],
)
async def test_what_counts(
    time: Any, scripted: Any, request_with: Any, error: Any, takes: float, ejected: bool
) -> None:
    guard = breaker(time, scripted([error], takes, time))
    await fail(guard, request_with(), 5)
    assert guard.state.ejected is ejected


async def test_open_is_told_recorded_and_not_asked(time: Any, scripted: Any, request_with: Any) -> None:
    backend = scripted([FAILED])
    guard = breaker(time, backend)
    await fail(guard, request_with(), 5)
    request = request_with()
    with pytest.raises(BreakerOpen, match=r"jina/m is not tried: breaker open for another 30\.0 s") as caught:
        await guard.rerank(request)
    assert caught.value.retry_after == pytest.approx(30.0)
    assert [(attempt.provider, attempt.status) for attempt in request.call.recorder.attempts] == [("jina", None)]
    assert len(backend.requests) == 5


async def test_a_call_that_bypasses_the_breaker_can_close_it(
    time: Any, scripted: Any, request_with: Any, caplog: Any
) -> None:
    guard = breaker(time, scripted([FAILED] * 5 + [scripted().script[0]]))
    await fail(guard, request_with(), 5)
    bypassing = request_with()
    await guard.rerank(replace(bypassing, call=replace(bypassing.call, bypass_cooldowns=True)))
    assert not guard.state.ejected
    assert [record.message for record in caplog.records] == [
        "target jina/m is ejected for 30 s (last: 500)",
        "target jina/m is back",
    ]


async def test_a_call_that_bypasses_the_breaker_and_fails_changes_nothing(
    time: Any, scripted: Any, request_with: Any
) -> None:
    guard = breaker(time, scripted([FAILED]))
    await fail(guard, request_with(), 5)
    until = guard.state.cooldown.until
    bypassing = request_with()
    await fail(guard, replace(bypassing, call=replace(bypassing.call, bypass_cooldowns=True)), 20)
    assert guard.state.cooldown.until == until


async def test_one_probe_at_a_time_and_a_cancelled_one_frees_the_place(
    time: Any, scripted: Any, request_with: Any
) -> None:
    class Hanging(scripted):  # type: ignore[misc]
        async def rerank(self, request: Any) -> Any:
            self.requests.append(request)
            if len(self.requests) > 5:
                await asyncio.Event().wait()
            raise FAILED

    guard = breaker(time, Hanging())
    await fail(guard, request_with(), 5)
    time.now += 30
    for _ in range(2):
        probe = asyncio.create_task(guard.rerank(request_with()))
        await asyncio.sleep(0)
        with pytest.raises(BreakerOpen, match="until the call that probes it returns"):
            await guard.rerank(request_with())
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)


def test_a_failed_probe_ejects_for_longer() -> None:
    state = BreakerState(BreakerSettings(failures=1))
    assert state.record_failure(0.0, probe=False) == pytest.approx(30)
    assert not state.admit(29.9)
    assert state.admit(30.0)
    assert state.record_failure(31.0, probe=True) == pytest.approx(60)


def test_a_probe_that_is_told_to_come_back_soon_is_a_failed_probe_all_the_same() -> None:
    state = BreakerState(BreakerSettings(failures=1))
    state.record_failure(0.0, probe=False)
    assert state.admit(30.0)
    assert state.record_failure(31.0, probe=True, at_least=1.0) == pytest.approx(60)
    assert not state.admit(32.0)


def test_retry_after_makes_an_ejection_longer() -> None:
    state = BreakerState(BreakerSettings(failures=1))
    assert state.record_failure(0.0, probe=False, at_least=200.0) == pytest.approx(200)


@pytest.mark.parametrize("asked", [301.0, 86400.0, 31536000.0, 1.79e9])
def test_no_retry_after_makes_an_ejection_longer_than_the_setting(asked: float) -> None:
    state = BreakerState(BreakerSettings(failures=1))
    assert state.record_failure(0.0, probe=False, at_least=asked) == pytest.approx(300)
    assert state.admit(300.0), "then it is probed"


def test_a_straggler_shortens_nothing_and_closes_nothing() -> None:
    state = BreakerState(BreakerSettings(failures=1))
    state.record_failure(0.0, probe=False, at_least=100.0)
    state.record_failure(1.0, probe=False, at_least=5.0)
    assert not state.record_success(NOW, probe=False)
    assert state.cooldown.until == 100.0
    assert not state.admit(50.0)


@pytest.mark.parametrize(
    ("outcomes", "ejected"),
    [
        pytest.param("FS" * 9 + "F", False, id="half fail, too few calls"),
        pytest.param("FS" * 9 + "FF", True, id="half fail"),
        pytest.param("SSF" * 20, False, id="a third fails"),
        pytest.param("FFFFS" * 3, False, id="four in a row, too few calls"),
        pytest.param("FFFFS" * 4 + "F", True, id="four of five"),
        pytest.param("FFFFF", True, id="five in a row"),
    ],
)
def test_failure_rate(outcomes: str, ejected: bool) -> None:
    state = BreakerState(BreakerSettings())
    for outcome in outcomes:
        if outcome == "S":
            state.record_success(NOW, probe=False)
        else:
            state.record_failure(1.0, probe=False)
    assert state.ejected is ejected


CUT_OFF: dict[str, tuple[list[tuple[float, float, str]], bool]] = {
    "twelve cut off together": ([(0.1 * n, 2.0 + 0.001 * n, "F") for n in range(12)], False),
    "a hundred cut off together": ([(0.0, 2.0 + 0.001 * n, "F") for n in range(100)], False),
    "half of all calls, once": (
        [(0.0, 2.0, "S")] * 10 + [(0.0, 2.0 + 0.001 * n, "F") for n in range(12)] + [(0.0, 2.1, "S")] * 2,
        False,
    ),
    "cut off, tried again, cut off again": (
        [(0.0, 2.0, "F")] * 12 + [(2.01, 2.02, "F")] * 6 + [(2.03, 2.04, "F")] * 3,
        False,
    ),
    "slow stragglers": ([(0.0, 2.0, "F"), *[(1.0, 60.0 + n, "F") for n in range(9)]], False),
    "two bursts with a success between": (
        [(0.0, 2.0, "F")] * 9 + [(1.0, 2.1, "S")] + [(1.5, 2.2, "F")] * 9 + [(2.3, 3.0, "F")] * 9,
        False,
    ),
    "five bursts": ([(n, n + 0.5, "F") for n in range(5) for _ in range(3)], True),
    "one after the other": ([(float(n), n + 0.5, "F") for n in range(5)], True),
    "each begins as the one before fails": ([(float(n), n + 1.0, "F") for n in range(5)], True),
    "half fail, again and again": ([(n * 0.1, n * 0.1 + 0.05, "FS"[n % 2]) for n in range(21)], True),
    "every call waits in vain, all under way at once": ([(n * 0.1, 10 + n * 0.1, "T") for n in range(25)], True),
    "few calls wait in vain, all under way at once": ([(n * 1.0, 10 + n * 1.0, "T") for n in range(10)], False),
}


@pytest.mark.parametrize(("calls", "ejected"), CUT_OFF.values(), ids=CUT_OFF)
def test_calls_cut_off_together_are_one_event(calls: list[tuple[float, float, str]], ejected: bool) -> None:
    """Each call: when it began, when it ended, and how: a failure, a success or a timeout."""
    state = BreakerState(BreakerSettings())
    for start, end, outcome in calls:
        if outcome == "S":
            state.record_success(NOW, probe=False)
        else:
            state.record_failure(end, probe=False, started_at=start, timed_out=outcome == "T")
    assert state.ejected is ejected


NOBODY_ASKED = [Unsupported("text only"), LimitExceeded("too many documents", status=413), Overloaded("full")]


@pytest.mark.parametrize(
    "error",
    [
        *NOBODY_ASKED,
        InvalidRequest("no such name"),
        NotReady("loading"),
        KeysCooling("all keys rest", status=429, retry_after=9),
        KeysRejected("all keys are refused", retry_after=9),
        TargetTimeout("no time was left", waited=0.0),
        AnswerTooLarge("more than our limit", status=200),
        DeadlineExceeded("our own threads were busy", waited=0.0),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_asked_nobody_resets_no_streak_and_closes_no_breaker(
    time: Any, scripted: Any, request_with: Any, error: Any
) -> None:
    guard = breaker(time, scripted([*[FAILED] * 4, error, FAILED, error, error]))
    await fail(guard, request_with(), 6)
    assert guard.state.ejected, "five in a row"
    time.now += 30
    await fail(guard, request_with())
    bypassing = request_with()
    await fail(guard, replace(bypassing, call=replace(bypassing.call, bypass_cooldowns=True)))
    assert guard.state.ejected
    assert guard.state.admit(time.now), "the place of the probe is free"


@pytest.mark.parametrize(
    ("waited", "ejected"), [(0.0, False), (0.1, False), (0.9, False), (1.0, True), (30.0, True), (None, True)]
)
async def test_the_time_in_our_own_queues_is_not_the_targets(
    time: Any, scripted: Any, request_with: Any, waited: float | None, ejected: bool
) -> None:
    guard = breaker(time, scripted([TargetTimeout("late", waited=waited)], 5.0, time))
    await fail(guard, request_with(), 5)
    assert guard.state.ejected is ejected


def test_failures_of_another_window_do_not_count() -> None:
    state = BreakerState(BreakerSettings(failures=100))
    for now in range(0, 1000, 11):
        state.record_failure(float(now), probe=False)
    assert not state.ejected


def test_health_checks_eject_and_bring_back() -> None:
    state = BreakerState(BreakerSettings())
    assert state.record_health_check(0.0, healthy=True) is None
    assert state.record_health_check(1.0, healthy=False) == pytest.approx(30)
    assert not state.admit(2.0)
    assert state.record_health_check(3.0, healthy=True) is None
    assert state.admit(3.0)
    assert state.admit(3.0), "closed, not half open"


async def test_no_error_text_is_logged(time: Any, scripted: Any, request_with: Any, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    guard = breaker(time, scripted([TargetFailed("secret document text", status=503)]))
    await fail(guard, request_with(), 5)
    assert "secret" not in caplog.text


@pytest.mark.parametrize("max_ejection", [0.5, 300.0])
async def test_what_an_operator_holds_gets_no_call_however_short_ejections_are(
    time: Any, scripted: Any, request_with: Any, max_ejection: float
) -> None:
    backend = scripted()
    guard = breaker(time, backend, base_ejection=0.5, max_ejection=max_ejection)
    guard.state.hold(time.now, 5.0)
    for seconds in (0.0, 0.6, 4.0):
        time.now += seconds
        with pytest.raises(BreakerOpen, match=rf"breaker open for another {1005 - time.now:.1f} s"):
            await guard.rerank(request_with())
    assert not backend.requests
    time.now += 0.4
    await guard.rerank(request_with())
    assert not guard.state.ejected, "the hold has ended, and the probe went well"


PROBES = {
    "goes well": None,
    "is refused": Rejected("x", status=400),
    "fails": FAILED,
    "is too large for us": AnswerTooLarge("x", status=200),
    "is cancelled": asyncio.CancelledError(),
}


@pytest.mark.parametrize("outcome", PROBES.values(), ids=PROBES)
@pytest.mark.parametrize("bypass", [False, True], ids=["the probe", "a call that bypasses the breaker"])
async def test_no_call_under_way_ends_what_an_operator_began(
    time: Any, scripted: Any, request_with: Any, outcome: BaseException | None, bypass: bool
) -> None:
    gate = asyncio.Event()

    class Waiting(scripted):  # type: ignore[misc]
        async def rerank(self, request: Any) -> Any:
            if len(self.requests) == 5:
                await gate.wait()
            return await super().rerank(request)

    backend = Waiting([*[FAILED] * 5, outcome or scripted().script[0], scripted().script[0]])
    guard = breaker(time, backend)
    await fail(guard, request_with(), 5)
    time.now += 0 if bypass else 40
    request = request_with()
    request = replace(request, call=replace(request.call, bypass_cooldowns=bypass))
    running = asyncio.create_task(guard.rerank(request))
    await asyncio.sleep(0)
    guard.state.hold(time.now, 500.0)
    gate.set()
    await asyncio.gather(running, return_exceptions=True)
    assert guard.state.ejected
    with pytest.raises(BreakerOpen):
        await guard.rerank(request_with())
    time.now += 500
    assert guard.state.admit(time.now), "the place of the probe is free"


class Machine(RuleBasedStateMachine):
    """Against a model: while ejected nothing passes before the time, and one probe afterwards; while held, nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.held_until = 0.0
        self.state = BreakerState(BreakerSettings())
        self.now = 0.0
        self.probes = 0

    @rule(seconds=st.floats(min_value=0, max_value=400))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def ask(self) -> None:
        ejected, until = self.state.ejected, self.state.cooldown.until
        admitted = self.state.admit(self.now)
        assert admitted == (not ejected or (self.now >= max(until, self.held_until) and not self.probes))
        self.probes += ejected and admitted

    @precondition(lambda self: self.probes)
    @rule(outcome=st.sampled_from(["good", "bad", "cancelled"]))
    def probe_returns(self, outcome: str) -> None:
        self.probes = 0
        if outcome == "good":
            self.state.record_success(self.now, probe=True)
            assert self.state.ejected == (self.now < self.held_until)
        elif outcome == "bad":
            self.state.record_failure(self.now, probe=True)
            assert self.state.ejected
            assert self.state.cooldown.left(self.now) > 0
        else:
            self.state.ignore(probe=True)

    @rule(good=st.booleans(), asked=st.floats(min_value=0, max_value=1000))
    def other_call_returns(self, good: bool, asked: float) -> None:
        ejected, until = self.state.ejected, self.state.cooldown.until
        if good:
            self.state.record_success(self.now, probe=False)
        else:
            self.state.record_failure(self.now, probe=False, at_least=asked)
        assert not ejected or self.state.ejected
        assert self.state.cooldown.until >= until

    @rule(seconds=st.floats(min_value=0.1, max_value=1000))
    def is_held(self, seconds: float) -> None:
        self.state.hold(self.now, seconds)
        self.held_until = self.now + seconds

    @rule()
    def is_readmitted(self) -> None:
        self.state.readmit(self.now)
        self.held_until, self.probes = 0.0, 0
        assert not self.state.ejected

    @invariant()
    def held_means_ejected(self) -> None:
        assert self.state.ejected or self.now >= self.held_until

    @invariant()
    def closed_means_no_probe(self) -> None:
        assert self.state.ejected or not self.probes


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
