"""Near matches for a mistyped name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause that names the nearest known names, or "" if none is near."""
    matches = get_close_matches(name, list(known), n=3, cutoff=0.6)
    return "; did you mean " + " or ".join(f'"{match}"' for match in matches) + "?" if matches else ""
