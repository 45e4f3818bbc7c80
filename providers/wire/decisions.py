"""Decision models as rerankers: one yes-or-no question per document, whose answer is a probability. What is asked, and
what the APIs of such models count, is alike."""

from __future__ import annotations

from msgspec import Struct

from providers.types import Usage
from providers.wire.results import known_usage

STATEMENT = "This document is relevant to the query: it helps to answer it."


class Counts(Struct):
    """Tokens that were counted."""

    input_tokens: int | None = None
    output_tokens: int | None = None


def usage_of(counts: Counts | None) -> Usage | None:
    """None if nothing was counted."""
    if counts is None:
        return None
    known = [count for count in (counts.input_tokens, counts.output_tokens) if count is not None]
    total = sum(known) if known else None
    return known_usage(
        Usage(prompt_tokens=counts.input_tokens, completion_tokens=counts.output_tokens, total_tokens=total)
    )
