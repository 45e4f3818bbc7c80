"""How far two rankings agree, against the definitions written out."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.agreement import MAX_COMPARED, compare, discordance, overlap_at

RANKINGS = st.lists(st.integers(0, 40), unique=True, min_size=1, max_size=30)


@given(RANKINGS, RANKINGS)
def test_discordance_is_the_share_of_pairs_in_another_order(live: list[int], candidate: list[int]) -> None:
    common = [document for document in live if document in candidate]
    pairs = list(combinations(common, 2))
    reversed_pairs = sum(candidate.index(first) > candidate.index(second) for first, second in pairs)
    expected = reversed_pairs / len(pairs) if pairs else None
    assert discordance(live, candidate) == pytest.approx(expected)
    assert discordance(candidate, live) == pytest.approx(expected)


@given(RANKINGS)
def test_a_ranking_agrees_with_itself_and_not_with_its_reverse(ranking: list[int]) -> None:
    same, reverse = compare(ranking, ranking), compare(ranking, ranking[::-1])
    assert (same.overlap, same.has_same_top) == (1.0, True)
    if len(ranking) > 1:
        assert (same.discordance, reverse.discordance, reverse.has_same_top) == (0.0, 1.0, False)


@pytest.mark.parametrize(
    ("live", "candidate", "expected"),
    [
        pytest.param([1, 2, 3], [3, 2, 1], 1.0, id="fewer than ten, in another order"),
        pytest.param(list(range(20)), [*range(5, 10), *range(20, 40)], 0.5, id="five of the first ten"),
        pytest.param([1, 2], [2], 0.0, id="one of them is shorter: only its length counts"),
        pytest.param([1, 2], [3, 4], 0.0, id="nothing in common"),
    ],
)
def test_overlap(live: list[int], candidate: list[int], expected: float) -> None:
    assert overlap_at(10, live, candidate) == expected


def test_only_so_many_results_are_compared() -> None:
    live = list(range(MAX_COMPARED * 50))
    candidate = [*live[:MAX_COMPARED], *reversed(live[MAX_COMPARED:])]
    assert compare(live, candidate).discordance == 0.0
