"""Every answer is verified before it leaves: sorted, cut and sound, whatever a target may say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.verification import SPANS_CUT, verify, verify_spans
from providers.errors import BadAnswer
from providers.types import MAX_ANSWER_SPANS, Ranked, Ranking, RerankRequest, Span


def request(count: int, top_n: int | None = None) -> RerankRequest:
    return RerankRequest(model="m", query="q", documents=["d"] * count, top_n=top_n)


ORDERED: dict[str, tuple[list[tuple[int, float]], int | None, list[int]]] = {
    "by falling score": ([(0, 0.1), (1, 0.9), (2, 0.5)], None, [1, 2, 0]),
    "equal scores by index": ([(2, 0.5), (0, 0.5), (1, 0.5)], None, [0, 1, 2]),
    "both zeros are equal": ([(1, 0.0), (0, -0.0)], None, [0, 1]),
    "negative scores": ([(0, -9.5), (1, -0.5)], None, [1, 0]),
    "cut": ([(0, 0.1), (1, 0.9), (2, 0.5)], 2, [1, 2]),
    "cut beyond the end": ([(0, 0.1), (1, 0.9)], 9, [1, 0]),
    "fewer than asked": ([(2, 0.5)], None, [2]),
}


@pytest.mark.parametrize(("results", "top_n", "expected"), ORDERED.values(), ids=ORDERED)
def test_order(results: list[tuple[int, float]], top_n: int | None, expected: list[int]) -> None:
    ranked = verify([Ranked(*result) for result in results], request(3, top_n))
    assert [result.index for result in ranked] == expected


UNSOUND: dict[str, tuple[list[tuple[int, float]], str]] = {
    "none": ([], "no results"),
    "index beyond the end": ([(0, 0.5), (3, 0.5)], "index 3, but there are 3 documents"),
    "negative index": ([(-1, 0.5)], "index -1"),
    "index twice": ([(0, 0.5), (0, 0.4)], "index 0 twice"),
    "more results than documents": ([(i % 3, 0.5) for i in range(4)], "index 0 twice"),
    "not a number": ([(0, 0.5), (1, float("nan"))], "index 1 is not a finite number"),
    "infinite": ([(0, float("-inf"))], "index 0 is not a finite number"),
}


@pytest.mark.parametrize(("results", "told"), UNSOUND.values(), ids=UNSOUND)
def test_unsound(results: list[tuple[int, float]], told: str) -> None:
    with pytest.raises(BadAnswer, match=told):
        verify([Ranked(*result) for result in results], request(3))


SCORES = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def rankings(draw: st.DrawFn) -> tuple[list[Ranked], RerankRequest]:
    """A correct answer in any order, partial or not, with ties."""
    count = draw(st.integers(1, 40))
    indices = draw(st.lists(st.integers(0, count - 1), min_size=1, unique=True))
    scores = draw(st.lists(SCORES | st.sampled_from([0.0, -0.0, 0.5]), min_size=len(indices), max_size=len(indices)))
    top_n = draw(st.none() | st.integers(1, 60))
    return [Ranked(*pair) for pair in zip(indices, scores, strict=True)], request(count, top_n)


@given(rankings())
def test_a_correct_answer_is_sorted_and_cut_and_otherwise_left_alone(case) -> None:
    results, asked = case
    ordered = verify(list(results), asked)
    assert ordered == sorted(results, key=lambda row: (-row.relevance_score, row.index))[: asked.top_n]
    assert len(ordered) == min(len(results), asked.top_n or len(results))
    assert verify(list(ordered), asked) == ordered


@given(rankings(), st.integers())
def test_one_index_out_of_range_spoils_it(case, index) -> None:
    results, asked = case
    if 0 <= index < len(asked.documents):
        index += len(asked.documents)
    with pytest.raises(BadAnswer, match=f"index {index}, but there are {len(asked.documents)} documents"):
        verify([*results, Ranked(index, 0.0)], asked)


@given(rankings(), st.data())
def test_one_index_twice_spoils_it(case, data) -> None:
    results, asked = case
    again = data.draw(st.sampled_from(results))
    with pytest.raises(BadAnswer, match=f"index {again.index} twice"):
        verify(data.draw(st.permutations([*results, Ranked(again.index, 0.25)])), asked)


@given(rankings(), st.sampled_from([math.nan, math.inf, -math.inf]), st.data())
def test_one_score_that_is_no_number_spoils_it(case, score, data) -> None:
    results, asked = case
    place = data.draw(st.integers(0, len(results) - 1))
    results[place] = Ranked(results[place].index, score)
    with pytest.raises(BadAnswer, match=f"score at index {results[place].index} is not a finite number"):
        verify(results, asked)


SPAN = Span(0, 1)
MANY: dict[str, tuple[int, int, int, int]] = {
    "as many as may be": (10, MAX_ANSWER_SPANS // 10, 10, 0),
    "one more": (1, MAX_ANSWER_SPANS + 1, 1, 1),
    "a million": (10_000, 100, MAX_ANSWER_SPANS // 100, 1),
    "the bound within a document's": (3, MAX_ANSWER_SPANS // 2 + 1, 2, 1),
    "none": (5, 0, 0, 0),
}


@pytest.mark.parametrize(("documents", "each", "told", "warnings"), MANY.values(), ids=MANY)
def test_spans_of_an_answer_are_bounded(documents: int, each: int, told: int, warnings: int) -> None:
    results = [Ranked(index, 0.5) for index in reversed(range(documents))]
    ranking = Ranking(results=results, spans={index: [SPAN] * each for index in range(documents)})
    spans, warned = verify_spans(ranking, results, ["x"] * documents)
    assert spans is not None
    assert list(spans) == [result.index for result in results[:told]], "those of the first results"
    assert sum(map(len, spans.values())) == min(documents * each, MAX_ANSWER_SPANS)
    assert len(warned) == warnings


class WatchedSpans(Sequence[Span]):
    """So many spans that lie nowhere. Counts those that were looked at."""

    def __init__(self, count: int) -> None:
        self.count, self.seen = count, 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: Any) -> Any:
        wanted = range(self.count)[index]
        self.seen += 1 if isinstance(wanted, int) else len(wanted)
        return Span(9, 9) if isinstance(wanted, int) else [Span(9, 9)] * len(wanted)


def test_spans_that_lie_nowhere_are_not_looked_at_for_ever() -> None:
    results, spans = [Ranked(index, 0.5) for index in range(100)], WatchedSpans(100_000)
    ranking = Ranking(results=results, spans=dict.fromkeys(range(100), spans))
    assert verify_spans(ranking, results, ["x"] * 100) == ({}, (SPANS_CUT,))
    assert spans.seen <= MAX_ANSWER_SPANS
