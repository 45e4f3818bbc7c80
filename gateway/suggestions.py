"""Suggest known names for a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

MAX_NAME_LENGTH = 256
"""Characters of the longest name that is looked up or compared. The cost of a comparison grows with the length."""


def near(name: str, known: Iterable[str]) -> list[str]:
    """Up to three known names that are similar to `name`, the most similar first; none if it is too long."""
    return get_close_matches(name, list(known), n=3, cutoff=0.6) if len(name) <= MAX_NAME_LENGTH else []


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause for the end of a message, "; did you mean …?", or "" if no known name is similar."""
    return clause(near(name, known))


def clause(names: list[str]) -> str:
    """The clause "; did you mean …?" with these names, or "" without any."""
    return "; did you mean " + " or ".join(f'"{name}"' for name in names) + "?" if names else ""
