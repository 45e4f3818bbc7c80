"""Halves of characters in JSON: an escape such as `\\ud83d` without its second half, where a text was cut in two.

A character beyond the Basic Multilingual Plane is escaped as a pair (RFC 8259 section 7). One half alone is no
character, and decoders refuse it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

_ESCAPE = re.compile(
    rb"\\(?:[^u]|u[^dD]|u[dD][0-7]|u[dD][89abAB]..\\u[dD][c-fC-F]..)|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})", re.DOTALL
)
"""Every escape; the first group is half of a pair. Escapes are matched whole, so that `\\\\ud83d` is none."""

_MARK = "\ufdd0\ufdd1\ufdd2"
"""Stands for a half while its place is looked for. Unicode keeps these three for such uses."""


def find_half(body: bytes) -> tuple[str, str] | None:
    """The first half in the JSON, and its place: `("\\ud83d", "$.documents[2]")`; None if there is none."""
    half = next((match for match in _ESCAPE.finditer(body) if match[1]), None)
    if half is None:
        return None
    marked = body[: half.start()] + _MARK.encode() + _without_halves(body[half.end() :])
    try:
        place = next(_places(msgspec.json.decode(marked), "$"), "")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        place = ""  # It is broken elsewhere as well.
    return half[0].decode(), place or f"byte {half.start()}"


def _without_halves(body: bytes) -> bytes:
    whole = _ESCAPE.sub(lambda match: b"\\ufffd" if match[1] else match[0], body)
    return whole.decode("utf-8", "replace").encode()


def _places(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, str):
        if _MARK in value:
            yield path
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _places(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            # A key with half a character is not told: it could be anything that the caller wrote.
            yield from (iter([path]) if _MARK in key else _places(item, f"{path}.{key}"[:200]))
