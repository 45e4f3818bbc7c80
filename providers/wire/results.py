"""Reading an answer: typed and fast for the documented shape, tolerant where servers are known to differ."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from providers.errors import BadAnswer
from providers.types import Usage

Answer = TypeVar("Answer")


def decode_response(body: bytes, decoder: msgspec.json.Decoder[Answer]) -> Answer:
    """Decode a 200. The documented shape costs one pass; only a body that fails it is looked at again, for rows that
    say `score` (as TEI-like servers behind a vendor's path do) where `relevance_score` is absent or null.

    Raises msgspec.MsgspecError (a ValueError) or BadAnswer.
    """
    try:
        return _decoded(body, decoder)
    except RecursionError:
        raise BadAnswer("the answer is nested too deeply") from None


def known_usage(usage: Usage | None) -> Usage | None:
    """None if nothing was counted. All zero means so too: no query is free of tokens, and servers that do not count
    say 0."""
    return usage if usage and (usage.prompt_tokens or usage.total_tokens or usage.search_units) else None


def _decoded(body: bytes, decoder: msgspec.json.Decoder[Answer]) -> Answer:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError:
        # Not strict: some servers count in floats (12.0).
        return msgspec.convert(_scored(msgspec.json.decode(body)), decoder.type, strict=False)


def _scored(answer: Any) -> Any:
    """The untyped answer with each row's `score` also under `relevance_score`, unless that has a value (0.0 is one)."""
    for name in ("results", "data"):
        rows = answer.get(name) if isinstance(answer, dict) else None
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and row.get("relevance_score") is None and "score" in row:
                row["relevance_score"] = row["score"]
    return answer
