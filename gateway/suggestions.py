"""Near matches for a mistyped name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_NAME = 256
"""Characters of a name that may have been meant; comparing longer ones costs more than an answer is worth."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause that names the nearest known names, or "" if none is near."""
    if len(name) > LONGEST_NAME:
        return ""
    matches = get_close_matches(name, list(known), n=3, cutoff=0.6)
    return "; did you mean " + " or ".join(f'"{match}"' for match in matches) + "?" if matches else ""
