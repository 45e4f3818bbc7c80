"""Near matches for unknown names, among however many."""

from __future__ import annotations

import pytest

from gateway import suggestions
from gateway.suggestions import did_you_mean, near

MANY = [f"provider{n % 7}/model-{n}-rerank-english" for n in range(4000)]

NEAR: dict[str, tuple[str, list[str], str]] = {
    "a letter is missing": ("provider3/model-10-rerank-englsh", MANY, "provider3/model-10-rerank-english"),
    "two letters are swapped": ("jnia", ["cohere", "jina", "voyage"], "jina"),
    "a letter too many": ("coheree", ["cohere", "jina", *MANY], "cohere"),
    "a wrong letter": ("vozage", [*MANY, "voyage"], "voyage"),
    "one letter": ("a", ["b", "ab"], "ab"),
}


@pytest.mark.parametrize(("name", "known", "meant"), NEAR.values(), ids=NEAR)
def test_the_nearest_name_comes_first(name: str, known: list[str], meant: str) -> None:
    assert near(name, known)[0] == meant


@pytest.mark.parametrize("name", ["", "zzzz", "x" * 1000])
def test_nothing_is_suggested_for_what_is_like_nothing(name: str) -> None:
    assert did_you_mean(name, MANY) == ""


def test_few_names_are_compared_letter_by_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def get_close_matches(name: str, candidates: list[str], n: int, cutoff: float) -> list[str]:
        compared.append(len(candidates))
        return []

    monkeypatch.setattr(suggestions, "get_close_matches", get_close_matches)
    near("provider3/model-10-rerank-englsh", MANY)
    assert compared == [8]
