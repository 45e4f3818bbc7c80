"""JSON as servers write it: NaN, half a surrogate pair and a byte order mark are not in the standard, but are sent."""

from __future__ import annotations

import json
from typing import Any

import msgspec


def parse(body: bytes, errors: str = "strict") -> Any:
    """The body, untyped. Python's own reader takes what msgspec, the faster one, refuses.

    Args:
        errors: what is done about bytes that are no UTF-8, as in `bytes.decode`.

    Raises:
        ValueError: neither reader takes it.
        RecursionError: it is nested too deeply.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json.loads(body.decode("utf-8-sig", errors))
