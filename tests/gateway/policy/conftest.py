"""A clock that moves only when the test says so, and backends that do what the test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gateway.policy.clock import Clock
from gateway.telemetry.recorder import RequestRecorder
from providers.types import Call, Ranked, Ranking, RerankRequest


class FakeTime:
    """`sleep` moves the time on at once and is remembered; `chances` are given out in turn, then 0.5."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.chances: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def chance(self) -> float:
        return self.chances.pop(0) if self.chances else 0.5

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.now, sleep=self.sleep, chance=self.chance)


class Scripted:
    """A backend that answers by a list: an error to raise, or a ranking; the last entry goes on for ever."""

    def __init__(self, script: Sequence[Any] = (), takes: float = 0.0, time: FakeTime | None = None) -> None:
        self.script = list(script) or [ranking()]
        self.requests: list[RerankRequest] = []
        self._takes = takes
        self._time = time

    async def rerank(self, request: RerankRequest) -> Ranking:
        self.requests.append(request)
        if self._time:
            self._time.now += self._takes
        outcome = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(outcome, BaseException):
            raise outcome
        assert isinstance(outcome, Ranking)
        return outcome

    async def ready(self) -> bool:
        return True


def ranking(provider: str = "") -> Ranking:
    return Ranking(results=[Ranked(0, 0.5), Ranked(1, 0.25)], provider=provider)


def asked(left: float | None = None, time: FakeTime | None = None) -> RerankRequest:
    deadline = None if left is None else (time.now if time else 0.0) + left
    return RerankRequest(
        model="m", query="q", documents=["a", "b"], call=Call(id="1", deadline=deadline, recorder=RequestRecorder())
    )


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def request_with() -> Callable[..., RerankRequest]:
    return asked


@pytest.fixture
def scripted() -> type[Scripted]:
    return Scripted
