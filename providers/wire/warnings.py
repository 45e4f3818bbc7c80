"""What another gateway says of its scores and warns of, in the `extra_fields` of an answer."""

from __future__ import annotations

import re
from typing import Any, get_args

from providers.types import AnswerWarning, ScoreSpace

MAX_WARNINGS, MAX_WARNING_CHARACTERS = 8, 400
"""Warnings kept of one answer, and the length of each."""

_CODE = re.compile("[a-z_]{1,64}")


def read_score_space(value: Any) -> ScoreSpace:
    """`unknown` for anything that is none."""
    return value if value in get_args(ScoreSpace) else "unknown"


def read_warnings(value: Any) -> tuple[AnswerWarning, ...]:
    """Those that have the documented shape; others are left out."""
    rows = value[:MAX_WARNINGS] if isinstance(value, list) else []
    pairs = [(row.get("code"), row.get("message")) for row in rows if isinstance(row, dict)]
    return tuple(
        AnswerWarning(code, message[:MAX_WARNING_CHARACTERS].encode(errors="replace").decode())
        for code, message in pairs
        if isinstance(code, str) and isinstance(message, str) and _CODE.fullmatch(code)
    )
