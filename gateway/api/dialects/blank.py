"""Texts of nothing visible. No model can rank them, and an upstream's error for one fails the whole request."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

_IGNORABLE = (
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
"""Default_Ignorable_Code_Point of Unicode 15.1 (DerivedCoreProperties.txt): shown as nothing by themselves."""

_OTHERS = ((0x00, 0x20), (0x7F, 0xA0), (0x2800, 0x2800), (0xFFF9, 0xFFFB))
"""Control characters, the braille pattern without dots, and the marks around annotations."""

_SPACES = frozenset(filter(str.isspace, map(chr, range(0x3001))))
INVISIBLE = _SPACES | {chr(code) for first, last in _IGNORABLE + _OTHERS for code in range(first, last + 1)}
"""Characters that show nothing."""

_first = itemgetter(0)


def is_blank(text: str | None) -> bool:
    """Whether there is nothing visible in it, or no text at all."""
    return not text or (text[0] in INVISIBLE and INVISIBLE.issuperset(text))


def none_blank(texts: Sequence[str]) -> bool:
    """Whether something is visible in each. Costs no Python code per text, unless one begins with a space."""
    if not all(texts):
        return False
    return INVISIBLE.isdisjoint(map(_first, texts)) or not any(map(is_blank, texts))
