"""Reading an answer: typed and fast for the documented shape, tolerant where servers are known to differ."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from providers.errors import BadAnswer
from providers.types import Usage

Answer = TypeVar("Answer")


def decode_response(body: bytes, decoder: msgspec.json.Decoder[Answer]) -> Answer:
    """Decode the body of a 200. The documented shape takes one pass; only a body that does not fit is read again, for
    rows with `score` (as servers like TEI give behind a vendor's path) in place of `relevance_score`.

    Raises msgspec.MsgspecError (a ValueError) or BadAnswer.
    """
    try:
        return _decode(body, decoder)
    except RecursionError:
        raise BadAnswer("the answer is nested too deeply") from None


def known_usage(usage: Usage | None) -> Usage | None:
    """None if nothing was counted. All zero means so too: no query is free of tokens, and servers that do not count
    say 0."""
    return usage if usage and (usage.prompt_tokens or usage.total_tokens or usage.search_units) else None


def _decode(body: bytes, decoder: msgspec.json.Decoder[Answer]) -> Answer:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError:
        # Not strict: some servers count in floats (12.0).
        return msgspec.convert(_with_relevance_scores(msgspec.json.decode(body)), decoder.type, strict=False)


def _with_relevance_scores(answer: Any) -> Any:
    """The untyped answer with each row's `score` also under `relevance_score`, unless that has a value (0.0 is one)."""
    for name in ("results", "data"):
        rows = answer.get(name) if isinstance(answer, dict) else None
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and row.get("relevance_score") is None and "score" in row:
                row["relevance_score"] = row["score"]
    return answer
