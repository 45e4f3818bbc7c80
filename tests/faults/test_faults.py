"""Every fault an upstream can have, alone, with a healthy fallback, and with none but faulty targets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.faults.cases import DEADLINE, SITUATIONS, Outcome
from tests.faults.expected import EXPECTED, table
from tests.faults.server import MODES

OPERATIONS = Path(__file__).parent.parent.parent / "docs" / "operations.md"
LEEWAY = 1.0
"""Seconds that a call may take beyond its deadline: this test may share a busy machine."""

every_case = pytest.mark.parametrize(
    ("mode", "situation"),
    [pytest.param(mode, situation, id=f"{mode}, {situation}") for mode in MODES for situation in SITUATIONS],
)


@every_case
def test_the_outcome(seen: dict[tuple[str, str], Outcome], mode: str, situation: str) -> None:
    outcome = seen[mode, situation]
    wanted = EXPECTED[mode][SITUATIONS.index(situation)]
    if mode in ("429 date", "429 reset in milliseconds"):  # Some of the eight seconds have passed.
        assert outcome.told.replace("retry-after 8", "retry-after 7") == wanted
    else:
        assert outcome.told == wanted


@every_case
def test_the_deadline_is_kept(seen: dict[tuple[str, str], Outcome], mode: str, situation: str) -> None:
    assert seen[mode, situation].seconds < DEADLINE + LEEWAY


@every_case
def test_an_answer_is_a_sound_ranking_and_an_error_says_why(
    seen: dict[tuple[str, str], Outcome], mode: str, situation: str
) -> None:
    outcome = seen[mode, situation]
    if outcome.told.startswith("200"):
        indices = [result["index"] for result in outcome.body["results"]]
        scores = [result["relevance_score"] for result in outcome.body["results"]]
        assert set(indices) <= {0, 1}
        assert len(set(indices)) == len(indices)
        assert scores == sorted(scores, reverse=True)
    else:
        assert outcome.body["message"]
        assert outcome.body["extra_fields"]["attempts"]
    assert "key-of-the-gateway" not in str(outcome.body)


@pytest.mark.parametrize("mode", ["accept and hang", "slow drip"])
def test_504_tells_which_attempt_used_the_time_up(seen: dict[tuple[str, str], Outcome], mode: str) -> None:
    message = seen[mode, "alone"].body["message"]
    told = re.search(r"was used up, most of it by alone\d+/m \((\d+) ms: no complete answer", message)
    assert told is not None, message
    assert 0.9 * DEADLINE < int(told[1]) / 1000 < DEADLINE + LEEWAY


def test_a_fallback_still_fits_when_the_first_target_hangs(seen: dict[tuple[str, str], Outcome]) -> None:
    first, second = seen["accept and hang", "with a healthy fallback"].body["extra_fields"]["attempts"]
    assert first["latency"] < DEADLINE * 1000 * 0.75
    assert second["status"] == 200


def test_the_documentation_has_this_table() -> None:
    assert "\n".join(table()) in OPERATIONS.read_text(encoding="utf-8")


def test_every_mode_is_in_the_table() -> None:
    assert list(EXPECTED) == MODES
