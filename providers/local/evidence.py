"""Which passage of a document decided: its sentences, for the model to score by themselves. Needs no torch."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from msgspec import Struct

from providers.types import Ranked, Span

MAX_DOCUMENTS = 50
"""Documents of an answer, the best first, whose passages are scored."""

MAX_PASSAGES = 32
"""Passages of a document: those of a longer one are longer."""

MIN_CHARACTERS = 40
"""A shorter sentence (a heading, `Fig. 3.`) is one passage with what follows."""

LONG_CHARACTERS = 400
"""What goes on for longer without an end of a sentence is cut between words."""

RESOLUTION = 16
"""Characters to which it is found out how far a model read a document."""

_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|[。！？]+[」』”’）]*|\n+|\r", re.MULTILINE)  # noqa: RUF001  they end sentences
"""What ends a sentence."""

Extent = tuple[int, int]
"""First character, and one past the last."""


class Passages(Struct, frozen=True):
    """What is scored once more.

    Attributes:
        results: of the documents concerned.
        extents: the passages of each.
        texts: of all documents that have more than one passage.
    """

    results: Sequence[Ranked]
    extents: list[list[Extent]]
    texts: list[str]

    def spans(self, scores: Sequence[float]) -> dict[int, list[Span]]:
        """The best passage of each document, by the document's position. `scores` are those of `texts`.

        Of equal passages the first one is it. A document that is one passage has its own score.
        """
        spans: dict[int, list[Span]] = {}
        left = iter(scores)
        for result, extents in zip(self.results, self.extents, strict=True):
            own = [next(left) for _ in extents] if len(extents) > 1 else [result.relevance_score] * len(extents)
            if own:
                best = max(range(len(own)), key=own.__getitem__)
                spans[result.index] = [Span(*extents[best], own[best])]
        return spans


def find_passages(results: Sequence[Ranked], documents: Sequence[str], read_to: Callable[[str], int]) -> Passages:
    """The passages of the first MAX_DOCUMENTS of these results.

    Args:
        results: as they are returned, best first.
        documents: all of the request.
        read_to: how many characters of a document the model has read.
    """
    chosen = results[:MAX_DOCUMENTS]
    extents = [split(documents[result.index], read_to(documents[result.index])) for result in chosen]
    texts = [
        documents[result.index][start:end]
        for result, own in zip(chosen, extents, strict=True)
        if len(own) > 1
        for start, end in own
    ]
    return Passages(chosen, extents, texts)


def split(text: str, end: int) -> list[Extent]:
    """The first `end` characters as at most MAX_PASSAGES passages: whole sentences, without white space around them."""
    least = max(MIN_CHARACTERS, -(-end // MAX_PASSAGES))
    passages: list[Extent] = []
    start = 0
    for stop in _stops(text, end, max(LONG_CHARACTERS, least)):
        if stop - start >= least or stop == end:
            passages.append(_trim(text, start, stop))
            start = stop
    kept = [extent for extent in passages if extent[0] < extent[1]]
    if len(kept) > 1 and kept[-1][1] - kept[-1][0] < MIN_CHARACTERS:
        kept[-2:] = [(kept[-2][0], kept[-1][1])]
    return kept


def _stops(text: str, end: int, longest: int) -> list[int]:
    """Where sentences end, and where what is longer than `longest` is cut."""
    stops, last = list[int](), 0
    for stop in [*(match.end() for match in _END.finditer(text, 0, end)), end]:
        while stop - last > longest:
            last = _cut(text, last, last + longest)
            stops.append(last)
        if stop > last:
            stops.append(stop)
            last = stop
    return stops


def _cut(text: str, start: int, end: int) -> int:
    """The last end of a word up to `end`; where there is none, `end`, but never between a letter and its marks."""
    for position in range(end, (start + end) // 2, -1):
        if text[position - 1].isspace():
            return position
    while end - start > 1 and _is_mark(text[end]):
        end -= 1
    return end


def _is_mark(character: str) -> bool:
    return unicodedata.combining(character) > 0 or "\udc00" <= character <= "\udfff" or character in "\u200d\ufe0f"


def _trim(text: str, start: int, end: int) -> Extent:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def read_to(text: str, is_read_whole: Callable[[str], bool]) -> int:
    """How many characters of a text a model reads, to RESOLUTION. `is_read_whole` says so of a beginning of it."""
    if is_read_whole(text):
        return len(text)
    low, high = 0, len(text)
    while high - low > RESOLUTION:
        middle = (low + high) // 2
        low, high = (middle, high) if is_read_whole(text[:middle]) else (low, middle)
    return low or min(len(text), RESOLUTION)
