"""A cooldown grows with each failure up to a bound, shrinks again in time, and is never cut short."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.cooldown import Cooldown

seconds = st.floats(min_value=0, max_value=1000, allow_nan=False)


@pytest.mark.parametrize(
    ("gaps", "lengths"),
    [
        pytest.param([0], [30], id="first"),
        pytest.param([0, 0, 0], [30, 60, 90], id="grows while it fails at once when it is back"),
        pytest.param([0] * 12, [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300], id="at most 300 s"),
        pytest.param([0, 0, 59], [30, 60, 60], id="forgets one per 30 good seconds"),
        pytest.param([0, 0, 3600], [30, 60, 30], id="forgets everything in an hour"),
    ],
)
def test_length(gaps: list[float], lengths: list[float]) -> None:
    cooldown, now, seen = Cooldown(), 5.0, []
    for gap in gaps:
        now = max(now, cooldown.until) + gap
        seen.append(cooldown.start(now))
    assert seen == pytest.approx(lengths)


@given(st.lists(st.tuples(st.sampled_from(["start", "extend"]), seconds, seconds), max_size=30))
def test_a_longer_rest_always_wins(steps: list[tuple[str, float, float]]) -> None:
    cooldown, now = Cooldown(), 0.0
    for action, later, asked in steps:
        now += later
        before = cooldown.until
        left = cooldown.start(now, asked) if action == "start" else cooldown.extend(now, asked)
        assert cooldown.until >= before
        assert cooldown.until >= now + min(asked, 300.0)
        assert cooldown.until <= max(before, now + 300.0)
        assert left == pytest.approx(cooldown.left(now))


@pytest.mark.parametrize("asked", [301.0, 86400.0, 31536000.0, 1.79e9, 1.79e12])
def test_nobody_can_ask_for_more_than_the_bound(asked: float) -> None:
    assert Cooldown().extend(0.0, asked) == 300.0
    assert Cooldown().start(0.0, asked) == 300.0
    assert Cooldown(30.0, 5.0).start(0.0) == 5.0


@given(st.lists(seconds, min_size=1, max_size=30))
def test_no_rest_of_our_own_exceeds_the_cap(gaps: list[float]) -> None:
    cooldown, now = Cooldown(), 0.0
    for gap in gaps:
        now = max(now, cooldown.until) + gap
        assert 30.0 - 1e-6 <= cooldown.start(now) <= 300.0 + 1e-6


def test_ending_keeps_what_was_learnt() -> None:
    cooldown = Cooldown()
    cooldown.start(0.0)
    cooldown.end(10.0)
    assert cooldown.left(10.0) == 0.0
    assert cooldown.start(11.0) == pytest.approx(60.0)
