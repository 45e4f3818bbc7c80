"""A model that is asked too fast is asked again when it says so, and every question has its turn."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from evaluation.run.answers import Answer, AnswerFile
from evaluation.run.cost import Estimator, Spending
from evaluation.run.pace import FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS, MAX_REFUSALS, Pace
from evaluation.run.question import Served, questions
from evaluation.run.runner import Contestant, Runner
from gateway.cli.asker import Reply
from providers.errors import Overloaded, RateLimited
from tests.evaluation.tasks import make_task


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)
        self.now += seconds


class Limited:
    """A gateway that takes so many calls in a period."""

    def __init__(self, clock: Clock, calls: int, period: float) -> None:
        self._clock, self._calls, self._period = clock, calls, period
        self.served: list[float] = []

    async def ask(self, body: Any) -> Reply:
        await asyncio.sleep(0)
        recent = [time for time in self.served if time > self._clock.now - self._period]
        if len(recent) >= self._calls:
            raise RateLimited("too fast", retry_after=recent[0] + self._period - self._clock.now)
        self.served.append(self._clock.now)
        results = [{"index": 0, "relevance_score": 1.0}]
        return {"results": results, "model": "m", "extra_fields": {"provider": "p", "latency": 1}}


@pytest.mark.parametrize("concurrency", [1, 4, 16])
async def test_every_question_has_its_turn(concurrency: int, tmp_path: Path) -> None:
    clock = Clock()
    task = make_task({f"q{number}": ["d"] for number in range(80)})
    asked = list(questions(task, Served("m", "f"), probes=0))
    asker = Limited(clock, calls=5, period=10.0)
    with AnswerFile(tmp_path / "answers.jsonl") as file:
        runner = Runner(asker, task, file, Estimator(None), Spending(None), lambda count: None)  # type: ignore[arg-type]
        await runner.run([Contestant(iter(asked), concurrency, Pace(clock, clock.sleep))])
        answers = list(file.read({question.key for question in asked}))
    assert [answer.error for answer in answers] == [""] * 80
    assert clock.now - 100.0 == pytest.approx(10.0 * (80 / 5 - 1), abs=10.0)


def test_pauses_double_until_something_is_served() -> None:
    clock = Clock()
    pace = Pace(clock, clock.sleep)

    async def refuse_all() -> None:
        for _ in range(MAX_REFUSALS):
            pace.refused(None)
            pace.refused(None)  # a call that was under way at the same time
            await pace.wait()
        pace.served()
        pace.refused(None)
        await pace.wait()

    asyncio.run(refuse_all())
    doubled = [min(FIRST_PAUSE_SECONDS * 2**number, MAX_PAUSE_SECONDS) for number in range(MAX_REFUSALS)]
    assert clock.slept == [*doubled, FIRST_PAUSE_SECONDS]


async def test_a_model_that_never_has_time_fails_in_the_end(tmp_path: Path) -> None:
    class Busy:
        async def ask(self, body: Any) -> Reply:
            raise Overloaded("busy")

    clock = Clock()
    task = make_task({"q": ["d"]})
    asked = list(questions(task, Served("m", "f"), probes=0))
    with AnswerFile(tmp_path / "answers.jsonl") as file:
        runner = Runner(Busy(), task, file, Estimator(None), Spending(None), lambda count: None)  # type: ignore[arg-type]
        await runner.run([Contestant(iter(asked), 1, Pace(clock, clock.sleep))])
        (answer,) = file.read({asked[0].key})
    assert answer.error == "overloaded"


TAILS: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 0),
    "whole lines": (b'{"key":"a","model":"m","variant":"given","query_id":"q"}\n' * 2, 2),
    "half a line": (b'{"key":"a","model":"m","variant":"given","query_id":"q"}\n{"key', 1),
    "half a first line": (b'{"key":"a","mod', 0),
    "a long half": (b'{"key":"a","model":"m","variant":"given","query_id":"q"}\n' + b"x" * 200_000, 1),
}


@pytest.mark.parametrize(("content", "kept"), TAILS.values(), ids=TAILS)
def test_what_was_half_written_is_cut_off(content: bytes, kept: int, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(content)
    added = Answer("a", "m", "given", "q", [1, 0], [0.5, 0.25], 3.0)
    with AnswerFile(path) as file:
        file.add(added)
        found = list(file.read({"a"}))
    assert len(found) == kept + 1
    assert found[-1] == added
