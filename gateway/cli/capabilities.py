"""What is known of a model, as cells of a table."""

from __future__ import annotations

from msgspec.structs import asdict

from providers.capabilities import Capabilities, Limits

TITLES = ("SCORING", "SCORES", "LIMITS OF A CALL")


def cells(known: Capabilities) -> list[str]:
    """Under TITLES."""
    return [known.scoring, known.score_space, _limits(known.limits)]


def _limits(limits: Limits) -> str:
    """`10,000 documents, 4,096 tokens per pair`."""
    known = {name: value for name, value in asdict(limits).items() if value is not None}
    return ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in known.items()) or "none known"
