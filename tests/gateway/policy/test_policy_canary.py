"""A canary tells scores that move from scores that are noisy, says so once, and lets no failure hide a move."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.policy.canary import BASELINE_CHECKS, RETRY_SECONDS, Baseline, Canary, CanarySettings
from gateway.policy.canary_texts import BUILT_IN, MAX_FILE_BYTES
from gateway.policy.target_id import TargetId
from gateway.settings import FOLDER
from providers.errors import TargetFailed
from providers.types import Ranked, Ranking

TEXTS = [{"query": "q", "documents": ["a", "b", "c"]}]
TARGET = TargetId("vendor", "m")
DOWN = TargetFailed("MARKER words of a vendor", status=503)


def scored(*scores: float) -> Ranking:
    """In an order of the target's own."""
    return Ranking(results=[Ranked(index, score) for index, score in enumerate(scores)][::-1])


def canary(backend: Any, time: Any, *, elected: Any = lambda: True, **settings: Any) -> Canary:
    return Canary(TARGET, backend, CanarySettings(**{"texts": TEXTS, **settings}), elected, 30.0, time.clock)


FIRST = [scored(0.9, 0.5, 0.1)] * BASELINE_CHECKS
NOISY = [scored(0.9, 0.5, 0.1), scored(0.93, 0.5, 0.1), scored(0.87, 0.5, 0.1)]
CASES: dict[str, tuple[list[Any], list[str], int, list[str]]] = {
    # What the target answers after the baseline; the states; how many warnings; their beginnings
    "the same": ([*FIRST, scored(0.9, 0.5, 0.1)], ["steady", "steady"], 0, []),
    "within the tolerance": ([*FIRST, scored(0.91, 0.5, 0.1)], ["steady", "steady"], 0, []),
    "within four times the noise": ([*NOISY, scored(1.0, 0.5, 0.1)], ["steady", "steady"], 0, []),
    "moved": (
        [*FIRST, scored(0.9, 0.7, 0.1)],
        ["steady", "moved", "moved"],
        1,
        ["the scores of vendor/m moved by 25.0 % of their range"],
    ),
    "one odd answer": ([*FIRST, scored(0.9, 0.7, 0.1), scored(0.9, 0.5, 0.1)], ["steady", "steady"], 0, []),
    "a failure before the baseline": ([DOWN, *FIRST], ["unknown", "steady"], 1, ["the canary texts of vendor/m"]),
    "a failure within the baseline": (
        [FIRST[0], DOWN, *FIRST, scored(0.9, 0.5, 0.1)],
        ["unknown", "steady", "steady"],
        1,
        ["the canary texts of vendor/m"],
    ),
    "failures are told once": ([DOWN], ["unknown", "unknown"], 1, ["the canary texts of vendor/m"]),
    "a document without a score": (
        [*FIRST, Ranking(results=[Ranked(0, 0.9)])],
        ["steady", "steady"],
        1,
        ["the canary texts of vendor/m could not be scored: upstream_bad_answer"],
    ),
}


@pytest.mark.parametrize(("answers", "states", "warnings", "said"), CASES.values(), ids=CASES)
async def test_states(
    time: Any, scripted: Any, caplog: Any, answers: list[Any], states: list[str], warnings: int, said: list[str]
) -> None:
    checked = canary(scripted(answers), time)
    seen: list[str] = []
    for _ in states:
        await checked.check()
        seen.append(checked.state)
    assert seen == states
    assert len(caplog.records) == warnings
    for record, beginning in zip(caplog.records, said, strict=True):
        assert record.message.startswith(beginning)
        assert "MARKER" not in record.message


async def test_scores_that_come_back_are_told_too(time: Any, scripted: Any, caplog: Any) -> None:
    caplog.set_level("INFO")
    moved = scored(0.9, 0.7, 0.1)
    checked = canary(scripted([*FIRST, moved, moved, scored(0.9, 0.5, 0.1)]), time)
    for _ in range(3):
        await checked.check()
    assert (checked.state, checked.drift) == ("steady", pytest.approx(0.0))
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_what_moves_is_measured_against_the_range(time: Any, scripted: Any) -> None:
    checked = canary(scripted([*[scored(-8.0, 0.0, 12.0)] * BASELINE_CHECKS, scored(-8.0, 5.0, 12.0)]), time)
    await checked.check()
    await checked.check()
    assert checked.drift == pytest.approx(0.25)
    assert (checked.checks, checked.failures) == (BASELINE_CHECKS + 2, 0)


@given(st.lists(st.lists(st.floats(-20, 20), min_size=2, max_size=2), min_size=2, max_size=5), st.floats(0.001, 1))
def test_no_run_of_the_baseline_itself_counts_as_moved(runs: list[list[float]], tolerance: float) -> None:
    baseline = Baseline.of(runs, tolerance)
    assert all(baseline.drift(run) <= baseline.threshold for run in runs)


@pytest.mark.parametrize(
    ("answers", "elected", "slept"),
    [
        pytest.param(FIRST, True, [3600.0, 3600.0], id="as often as was said"),
        pytest.param([DOWN], True, [RETRY_SECONDS, RETRY_SECONDS], id="sooner after a failure"),
        pytest.param(FIRST, False, [3600.0, 3600.0], id="another worker checks"),
    ],
)
async def test_when_it_checks(time: Any, scripted: Any, answers: list[Any], elected: bool, slept: list[float]) -> None:
    backend = scripted(answers)
    checked = canary(backend, time, elected=lambda: elected)
    twice = asyncio.Event()

    async def sleep(seconds: float) -> None:
        time.slept.append(seconds)
        if len(time.slept) == 2:
            twice.set()
            await asyncio.Event().wait()

    checked._clock = type(time.clock)(now=lambda: time.now, sleep=sleep)
    checked.start()
    await twice.wait()
    await checked.aclose()
    assert time.slept == slept
    assert bool(backend.requests) == elected


async def test_the_next_configuration_goes_on_with_what_was_found(time: Any, scripted: Any) -> None:
    old = canary(scripted(FIRST), time)
    await old.check()
    new = canary(scripted([scored(0.9, 0.7, 0.1)]), time)
    new.take_over(old)
    await new.check()
    assert new.state == "moved"


async def test_what_was_scored_for_the_baseline_is_not_scored_again(time: Any, scripted: Any) -> None:
    """Where reloads come faster than three scorings there would never be a baseline, and each reload would cost."""
    old = canary(scripted([*FIRST[:2], DOWN]), time)
    assert not await old.check()
    new = canary(scripted(FIRST), time)
    new.take_over(old)
    assert await new.check()
    assert (new.state, new.checks, new.failures) == ("steady", BASELINE_CHECKS + 1, 1)


async def test_a_reload_costs_no_check_and_the_old_canary_ends(time: Any, scripted: Any) -> None:
    """Else ten reloads in a minute would be ten paid calls, and both would check until the old routes are idle."""
    slept: list[float] = []
    waits = asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        waits.set()
        await asyncio.Event().wait()

    old, new = canary(scripted(FIRST), time), canary(scripted(FIRST), time)
    for each in (old, new):
        each._clock = type(time.clock)(now=lambda: time.now, sleep=sleep)
    old.start()
    await waits.wait()
    new.take_over(old)
    time.now += 600.0
    old.state, old.checks = "moved", 9  # while the models of the new configuration are loaded
    waits.clear()
    new.start()
    await waits.wait()
    assert (new.state, new.checks, slept) == ("moved", 9, [3600.0, 3000.0])
    assert old._task is not None
    assert old._task.cancelled()
    await asyncio.gather(old.aclose(), new.aclose())


YAML = "- query: What is it?\n  documents: [this, that]\n"
FILES: dict[str, tuple[bytes, str | None]] = {
    "lists": (YAML.encode(), None),
    "no list": (b"query: q\n", "should be a valid list"),
    "empty": (b"[]\n", "at least 1 item"),
    "one document": (b"- {query: q, documents: [a]}\n", "at least 2 items"),
    "an unknown key": (b"- {query: q, documents: [a, b], docs: 1}\n", "not permitted"),
    "no YAML": (b"- [\n", "is not YAML"),
    "no UTF-8": (b"\xff\xfe\x00", "is not YAML in UTF-8"),
    "an object of Python's": (b"!!python/object/apply:os.getcwd []\n", "is not YAML"),
    "too deep": (b"[" * 5000, "is not YAML"),
    "too large": (b"#" * (MAX_FILE_BYTES + 1), "is larger than"),
}


@pytest.mark.parametrize(("content", "fault"), FILES.values(), ids=FILES)
def test_files_of_texts(tmp_path: Path, content: bytes, fault: str | None) -> None:
    (tmp_path / "canary.yaml").write_bytes(content)
    if fault is None:
        settings = CanarySettings.model_validate({"texts": "canary.yaml"}, context={FOLDER: tmp_path})
        assert settings.texts[0].query == "What is it?"
    else:
        with pytest.raises(ValidationError, match=fault):
            CanarySettings.model_validate({"texts": "canary.yaml"}, context={FOLDER: tmp_path})


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"none\.yaml cannot be read: No such file"):
        CanarySettings.model_validate({"texts": "none.yaml"}, context={FOLDER: tmp_path})


def test_our_own_texts_are_used_without_any() -> None:
    assert [texts.query for texts in CanarySettings().texts] == [entry["query"] for entry in BUILT_IN]


async def test_scores_that_are_all_the_same_have_room_too(time: Any, scripted: Any) -> None:
    checked = canary(scripted([*[scored(0.5, 0.5, 0.5)] * BASELINE_CHECKS, scored(0.5, 0.5 + 1e-9, 0.5)]), time)
    await checked.check()
    await checked.check()
    assert checked.state == "steady"


async def test_a_fault_of_ours_does_not_end_the_checks(time: Any, scripted: Any, caplog: Any) -> None:
    checked = canary(scripted([KeyError("MARKER"), *FIRST]), time)
    again = asyncio.Event()

    async def sleep(seconds: float) -> None:
        if checked.state == "steady":
            again.set()
            await asyncio.Event().wait()

    checked._clock = type(time.clock)(now=lambda: time.now, sleep=sleep)
    checked.start()
    await asyncio.wait_for(again.wait(), 20)
    await checked.aclose()
    assert [record.message for record in caplog.records] == ["the canary of vendor/m failed: KeyError"]
