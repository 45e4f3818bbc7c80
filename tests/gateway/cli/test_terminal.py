"""What a terminal gets to see: no control characters, and columns as wide as they look."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.cli.table import table
from gateway.cli.terminal import fit, json_text, one_line, visible

HOSTILE: dict[str, str] = {
    "a colour": "\x1b[31m",
    "the title": "\x1b]0;owned\x07",
    "a link": "\x1b]8;;http://evil\x1b\\",
    "a question that the terminal answers": "\x1b[6n",
    "C1 CSI": "\x9b31m",
    "C1 OSC": "\x9d0;owned\x9c",
    "back to the start of the line": "\r",
    "backspace": "\b",
    "bell": "\a",
    "vertical tab": "\v",
    "NUL": "\0",
    "delete": "\x7f",
    "a right-to-left override": "\u202e",
    "an isolate": "\u2067",
    "a mark": "\u200f",
    "an Arabic mark": "\u061c",
    "a byte order mark": "\ufeff",
    "nothing to see": "\u200b",
    "a line separator": "\u2028",
    "half a character": "\ud83d",
    "a tag": "\U000e0041",
}
BAD = {character for text in HOSTILE.values() for character in text if not character.isprintable()}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_control_character_is_printed(text: str) -> None:
    shown = [visible(f"a{text}b"), one_line(f"a{text}b"), table(["T"], [[f"a{text}b"]]), json_text({text: [text]})]
    for printed in shown:
        assert not BAD & set(printed)
        printed.encode("utf-8")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_json_loses_nothing(text: str) -> None:
    value = {f"a{text}": [text, "日本", 1.5, None]}
    assert json.loads(json_text(value)) == value


@pytest.mark.parametrize("text", ["日本語", "naïve café", "می‌خواهم", "👩‍👩‍👧 family", "עברית", "a\tb", "two\nlines"])
def test_ordinary_text_stays(text: str) -> None:
    assert visible(text) == text


FITTED: dict[str, tuple[str, int, str]] = {
    "short": ("abc", 3, "abc"),
    "long": ("abcd", 3, "ab…"),
    "wide characters": ("日本語", 6, "日本語"),
    "wide characters that are cut": ("日本語", 5, "日本…"),
    "a wide character does not fit by half": ("日本語", 4, "日…"),
    "combining characters": ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
    "a blank before the cut": ("ab cd", 4, "ab…"),
}


@pytest.mark.parametrize(("text", "width", "fitted"), FITTED.values(), ids=FITTED)
def test_text_is_cut_to_cells(text: str, width: int, fitted: str) -> None:
    assert fit(text, width) == fitted


TABLES: dict[str, tuple[list[list[str]], int | None, list[str]]] = {
    "columns of wide characters": ([["日本", "x"], ["abc", "y"]], None, ["A     B", "日本  x", "abc   y"]),
    "the last column is cut": ([["ab", "a long document"]], 14, ["A   B", "ab  a long do…"]),
    "it keeps some room": ([["a" * 20, "a long document"]], 10, [f"A{' ' * 21}B", "a" * 20 + "  a long do…"]),
    "lines become one": ([["a", "b\n\tc"]], None, ["A  B", "a  b c"]),
}


@pytest.mark.parametrize(("rows", "width", "lines"), TABLES.values(), ids=TABLES)
def test_a_table(rows: list[list[str]], width: Any, lines: list[str]) -> None:
    assert table(["A", "B"], rows, width).splitlines() == lines
