"""Text from elsewhere (documents, vendors, files) made fit for a terminal: harmless there, and as wide as it looks.

A terminal obeys control characters wherever they come from: they move the cursor, change what was printed before, set
the title, and some terminals answer them as if the user had typed. Bidirectional overrides show text in another order
than it has. So none of them is ever printed.
"""

from __future__ import annotations

import json
import re
from typing import Any

from rich.cells import cell_len, set_cell_size

_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 (without tab and newline), DEL and C1
    "\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"  # what orders or hides text, but not joiners
    "\u2028\u2029\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"  # separators, annotations, half characters, tags
)
_REPLACEMENT = "\ufffd"


def visible(text: str) -> str:
    """The text with every control character but tabs and newlines replaced by U+FFFD."""
    return _CONTROLS.sub(_REPLACEMENT, text)


def one_line(text: str) -> str:
    """The text as one line without control characters; any white space is one blank."""
    return visible(" ".join(text.split()))


def fit(text: str, width: int) -> str:
    """The text, cut to that many cells with an ellipsis at its end if it is wider."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(width - 1, 0)).rstrip() + "…"


def pad(text: str, width: int) -> str:
    """The text with blanks up to that many cells. East Asian characters are two cells wide, combining ones none."""
    return text + " " * (width - cell_len(text))


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON in which every control character is escaped: nothing is lost, and a terminal obeys nothing."""
    return _CONTROLS.sub(_escape, json.dumps(value, indent=indent, ensure_ascii=False))


def _escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]
