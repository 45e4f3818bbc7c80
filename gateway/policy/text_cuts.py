"""Where a text is cut: within so many tokens, where reading stops, never inside a character as readers see it."""

from __future__ import annotations

import re
import unicodedata

from gateway.blocking import check_cancelled
from providers.tokenization import TokenCounter

BOUNDARY_SHARE = 4
"""A cut may give up this part of a text (1/4) to fall on a boundary."""

BOUNDARY_CHARACTERS = 200
"""Or so many characters, if that is less."""

BOUNDARY_MARKS = 8
"""Characters that may make one boundary: a full stop, quotes and brackets; empty lines."""

MAX_CHARACTERS_PER_TOKEN = 32
"""No more of a text than this is looked at for each token that it may have."""

MAX_MARKS = 32
"""Marks after one letter that are kept with it."""

_BOUNDARIES = (
    re.compile(r"\n\s*\n"),
    re.compile(r"[.!?\u2026][\"')\]]*\s|[\u3002\uff01\uff1f]"),
    re.compile(r"\s|[\u3001\uff0c\uff1b]"),
)
"""What ends a paragraph, a sentence, and a word or clause, in the order in which they are looked for."""

_NOT_SPACE = re.compile(r"\S")

_JOINERS = frozenset("\u200d\ufe0f\ufe0e")
Piece = tuple[int, int]


def cut(text: str, limit: int, counter: TokenCounter, start: int = 0) -> Piece | None:
    """The longest piece from `start` that has at most `limit` tokens and ends well; None if there is no room.

    The piece begins after white space where it would be blank otherwise. It is a part of the text as it is.
    """
    word = _NOT_SPACE.search(text, start)
    if word is None:
        return None
    return _piece(text, start, limit, counter) or _piece(text, word.start(), limit, counter)


def _piece(text: str, start: int, limit: int, counter: TokenCounter) -> Piece | None:
    """The longest piece that begins at `start`; None if it would be blank."""
    head = text[start : start + limit * MAX_CHARACTERS_PER_TOKEN]
    room = limit
    while room > 0:
        size = counter.prefix(head, room)
        end = _boundary(text, start, start + size)
        if not text[start:end].strip():
            return None
        excess = counter.count(text[start:end]) - limit if counter.is_exact else 0
        if excess <= 0:
            return start, end
        room -= excess
    return None


def windows(text: str, limit: int, counter: TokenCounter, most: int) -> list[Piece]:
    """The text in consecutive pieces of at most `limit` tokens, at most so many; fewer characters if more were needed.

    Empty if there is no room for a single character.
    """
    spans: list[Piece] = []
    start = 0
    while len(spans) < most and _NOT_SPACE.search(text, start):
        check_cancelled()
        span = cut(text, limit, counter, start)
        if span is None:
            break
        spans.append(span)
        start = span[1]
    return spans


def _boundary(text: str, start: int, end: int) -> int:
    """The last good place to end at, from `end` back to what a cut may give up."""
    if end >= len(text):
        return len(text)
    earliest = max(start + 1, end - min((end - start) // BOUNDARY_SHARE, BOUNDARY_CHARACTERS))
    for boundary in _BOUNDARIES:
        found = [
            min(match.end(), end)
            for match in boundary.finditer(text, max(start, earliest - BOUNDARY_MARKS), end + 1)
            if match.end() >= earliest and (match.start() < end or text[end].isspace())
        ]
        if found:
            return _whole(text, start, found[-1])
    return _whole(text, start, end)


def _whole(text: str, start: int, end: int) -> int:
    """The end of the last whole character: a letter with its marks, an emoji with its parts, a pair of surrogates."""
    for _ in range(MAX_MARKS):
        if end <= start or end >= len(text) or not _belong_together(text[end - 1], text[end]):
            return end
        end -= 1
    return end


def _belong_together(before: str, after: str) -> bool:
    if before == "\r" and after == "\n":
        return True
    if before.isascii() and after.isascii():
        return False
    return (
        unicodedata.category(after) in ("Mn", "Mc", "Me")
        or after in _JOINERS
        or before == "\u200d"
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or ("\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff")
    )
