"""Suggest known names for a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from heapq import nlargest
from itertools import islice, pairwise

MAX_NAME_LENGTH = 256
"""Characters of the longest name that is looked up or compared. The cost of a comparison grows with the length."""


MAX_COMPARED = 5000
"""Known names that are looked at for one that is unknown."""

_MAX_CANDIDATES = 8
"""Names that are compared letter by letter, which takes up to a millisecond each."""


def near(name: str, known: Iterable[str]) -> list[str]:
    """Up to three known names that are similar to `name`, the most similar first; none if it is too long."""
    if len(name) > MAX_NAME_LENGTH:
        return []
    pairs = _pairs(name)
    candidates = nlargest(_MAX_CANDIDATES, islice(known, MAX_COMPARED), key=lambda other: _likeness(pairs, other))
    return get_close_matches(name, candidates, n=3, cutoff=0.6)


def _likeness(pairs: frozenset[str], other: str) -> float:
    """The share of pairs of letters that are in both (Dice's coefficient). Cheap, and close enough for a choice."""
    others = _pairs(other)
    return len(pairs & others) / (len(pairs) + len(others))


@lru_cache(MAX_COMPARED)
def _pairs(name: str) -> frozenset[str]:
    padded = f" {name[:MAX_NAME_LENGTH]} "
    return frozenset(map("".join, pairwise(padded)))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause for the end of a message, "; did you mean …?", or "" if no known name is similar."""
    return clause(near(name, known))


def clause(names: list[str]) -> str:
    """The clause "; did you mean …?" with these names, or "" without any."""
    return "; did you mean " + " or ".join(f'"{name}"' for name in names) + "?" if names else ""
