"""What leaves is sorted, cut and sound, whatever a target answered."""

from __future__ import annotations

import pytest

from gateway.policy.verification import verify
from providers.errors import BadAnswer
from providers.types import Ranked, RerankRequest


def ask(documents: int, top_n: int | None = None) -> RerankRequest:
    return RerankRequest(model="m", query="q", documents=["d"] * documents, top_n=top_n)


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
    ranked = verify([Ranked(*result) for result in results], ask(3, top_n))
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
        verify([Ranked(*result) for result in results], ask(3))
