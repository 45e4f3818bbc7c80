"""One ranking made of several: what each method gives, and that the order of the documents does not matter to it."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.fusion_methods import FusionMethod, fuse
from providers.types import Ranked

METHODS: list[FusionMethod] = ["rrf", "mean_rank", "weighted_scores"]
SCORES = st.integers(-3, 3).map(float)  # few values, so that many are equal


def ranking(scores: Sequence[float | None]) -> list[Ranked]:
    """The ranking that these scores of the documents give; None leaves one out."""
    found = [Ranked(index, score) for index, score in enumerate(scores) if score is not None]
    return sorted(found, key=lambda result: (-result.relevance_score, result.index))


CASES: dict[str, tuple[FusionMethod, list[list[float | None]], list[float], list[float]]] = {
    "rrf": ("rrf", [[3, 2, 1], [1, 3, 2]], [1, 1], [1 / 61 + 1 / 63, 1 / 62 + 1 / 61, 1 / 63 + 1 / 62]),
    "rrf, weighted": ("rrf", [[3, 2], [1, 2]], [2, 1], [2 / 61 + 1 / 62, 2 / 62 + 1 / 61]),
    "rrf, ties share their places": ("rrf", [[5, 5, 1]], [1], [1 / 61.5, 1 / 61.5, 1 / 63]),
    "rrf, one left out gets nothing": ("rrf", [[3, None], [1, 2]], [1, 1], [1 / 61 + 1 / 62, 1 / 61]),
    "mean rank": ("mean_rank", [[3, 2, 1], [3, 1, 2]], [1, 1], [1.0, 1 - 1.5 / 3, 1 - 1.5 / 3]),
    "mean rank, shared": ("mean_rank", [[3, None, None], [3, 3, 3]], [1, 1], [5 / 6, 7 / 12, 7 / 12]),
    "weighted scores": ("weighted_scores", [[0.9, 0.1], [0.2, 0.4]], [3, 1], [0.725, 0.175]),
    "weighted scores, the lowest for one left out": (
        "weighted_scores", [[0.9, None, 0.5], [0, 1, 0]], [1, 1], [0.45, 0.75, 0.25]
    ),
}  # fmt: skip


@pytest.mark.parametrize(("method", "lists", "weights", "expected"), CASES.values(), ids=CASES)
def test_scores(method, lists, weights, expected) -> None:
    count = len(lists[0])
    seen = fuse([ranking(scores) for scores in lists], weights, method, count)
    assert [result.relevance_score for result in seen] == pytest.approx(expected)


@given(
    st.integers(1, 8).flatmap(
        lambda count: st.lists(st.lists(SCORES | st.none(), min_size=count, max_size=count), min_size=1, max_size=4)
    ),
    st.sampled_from(METHODS),
    st.randoms(use_true_random=False),
)
def test_the_order_of_the_documents_does_not_matter(lists: list[list[float | None]], method, draw: Random) -> None:
    lists = [scores for scores in lists if any(score is not None for score in scores)]
    if not lists:
        return
    count, weights = len(lists[0]), [draw.choice([1.0, 2.0]) for _ in lists]
    places = list(range(count))
    draw.shuffle(places)
    shuffled = [[scores[place] for place in places] for scores in lists]
    plain = {r.index: r.relevance_score for r in fuse([ranking(scores) for scores in lists], weights, method, count)}
    moved = fuse([ranking(scores) for scores in shuffled], weights, method, count)
    assert {places[result.index]: result.relevance_score for result in moved} == plain


@given(st.lists(SCORES, min_size=1, max_size=8), st.sampled_from(METHODS), st.integers(1, 4))
def test_models_that_agree_give_their_own_order(scores: list[float], method, members: int) -> None:
    fused = fuse([ranking(scores)] * members, [1.0] * members, method, len(scores))
    for a in fused:
        for b in fused:
            if scores[a.index] > scores[b.index]:
                assert a.relevance_score > b.relevance_score
