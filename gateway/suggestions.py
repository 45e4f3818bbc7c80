"""Near matches for a mistyped name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_NAME = 256
"""Characters of a name that may have been meant; comparing longer ones costs more than an answer is worth."""


def near(name: str, known: Iterable[str]) -> list[str]:
    """The known names that are nearest, best first; none for a name of absurd length."""
    return get_close_matches(name, list(known), n=3, cutoff=0.6) if len(name) <= LONGEST_NAME else []


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause that names the nearest known names, or "" if none is near."""
    return clause(near(name, known))


def clause(names: list[str]) -> str:
    """A clause that offers these names, or "" if there are none."""
    return "; did you mean " + " or ".join(f'"{name}"' for name in names) + "?" if names else ""
