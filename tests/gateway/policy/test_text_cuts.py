"""Where texts are cut: within the limit, where reading stops, and never inside a character."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.text_cuts import cut, windows
from providers.tokenization import TokenBound


class Characters:
    """A token for each character: an exact tokenizer that shows where cuts fall."""

    is_exact = is_ready = True

    def count(self, text: str) -> int:
        return len(text)

    def prefix(self, text: str, limit: int) -> int:
        return min(limit, len(text))


class Words:
    """A token for each word, and for each letter of a word that does not end with the text: shorter may be more."""

    is_exact = is_ready = True

    def count(self, text: str) -> int:
        *whole, last = text.split(" ")
        return len(whole) + (1 if last.endswith(".") else len(last))

    def prefix(self, text: str, limit: int) -> int:
        return max((size for size in range(len(text) + 1) if self.count(text[:size]) <= limit), default=0)


FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
CUTS = {
    "short": ("all of it", 20, "all of it"),
    "at a space": ("one two three four five", 15, "one two three "),
    "at a sentence rather than a word": ("It rains. But not so very much", 13, "It rains. "),
    "at a paragraph rather than a sentence": ("Title here\n\nA b. c", 16, "Title here\n\n"),
    "no boundary near": ("abcdefghijklmnop", 8, "abcdefgh"),
    "Chinese": ("\u4eca\u5929\u4e0b\u96e8\u3002\u660e\u5929\u653e\u6674", 6, "\u4eca\u5929\u4e0b\u96e8\u3002"),
    "a letter and its mark": ("abcdefge\u0301x", 8, "abcdefg"),
    "an emoji of several": ("abcdefg" + FAMILY, 9, "abcdefg"),
    "a skin tone": ("abcdefg\U0001f44d\U0001f3fd", 8, "abcdefg"),
    "a lone half of a pair": ("abcdefg\ud83d\ude00", 8, "abcdefg"),
    "white space first": (" " * 30 + "words that matter", 10, "words that"),
}


@pytest.mark.parametrize(("text", "limit", "kept"), CUTS.values(), ids=CUTS)
def test_where_a_cut_falls(text: str, limit: int, kept: str) -> None:
    span = cut(text, limit, Characters())
    assert span is not None
    assert text[span[0] : span[1]] == kept


@pytest.mark.parametrize("text", ["", "  ", "\U0001f600"])
def test_no_room(text: str) -> None:
    assert cut(text, 2, TokenBound()) is None
    assert windows(text, 2, TokenBound(), 9) == []


@settings(max_examples=200, deadline=None)
@given(text=st.text("ab. \n\u0301\u00fc\u72d0", max_size=120), limit=st.integers(2, 30))
@pytest.mark.parametrize("counter", [Characters(), TokenBound(), Words()], ids=["characters", "bound", "words"])
def test_windows_are_the_text_itself_within_the_limit(counter, text: str, limit: int) -> None:
    spans = windows(text, limit, counter, 1000)
    kept = [text[start:end] for start, end in spans]
    assert all(piece.strip() for piece in kept)
    assert all(counter.count(piece) <= limit for piece in kept)
    if spans and not text[spans[-1][1] :].strip():
        between = [text[end:start] for (_, end), (start, _) in pairwise(spans)]
        assert not "".join(between).strip(), "nothing but white space is lost"
    first = cut(text, limit, counter)
    assert (first is None) == (not spans)
    assert first is None or first == spans[0]
