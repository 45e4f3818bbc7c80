"""Structured documents as YAML, the text by which they are ranked.

PyYAML's emitter in block style (`sort_keys=False, allow_unicode=True`, lines of any width), as far as JSON values need
it, and with the same text: tests compare the two. PyYAML takes 20 us per value with libyaml, which escapes characters
beyond the Basic Multilingual Plane, such as emoji, and ten times as long without; a caller may send half a million.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isinf, isnan
from typing import Any

from yaml import SafeDumper

_SPECIAL = re.compile("[^\n -~\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010fffe]| [\n\u2028\u2029]")
"""Only double quotes can hold these: unprintable characters, and a space before a line break."""

_BREAK = re.compile("[\n\u2028\u2029]+")
_BREAK_IN_KEY = re.compile("[\n\r\x85\u2028\u2029]")
_BREAK_AND_SPACE = re.compile("[\n\u2028\u2029] ")

_NOT_PLAIN = re.compile(r"""---|\.\.\.|[ #,\[\]{}&*!|>'"%@`]|[-?:](?: |\Z)""")
"""How a text cannot begin without quotes; see YAML 1.1, section 5.3."""

_NOT_PLAIN_WITHIN = re.compile(r": | #|[: ]\Z")

_RESOLVERS: Mapping[str, Any] = SafeDumper.yaml_implicit_resolvers
"""By first character: patterns of texts that would be read as a number, a date, a boolean or null without quotes."""

_NAMED_ESCAPES = {
    "\0": "0", "\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r", "\x1b": "e", '"': '"',
    "\\": "\\", "\x85": "N", "\u2028": "L", "\u2029": "P",
}  # fmt: skip
_ESCAPES = {
    **{code: f"\\x{code:02X}" for code in (*range(0x20), *range(0x7F, 0xA0))},
    **{code: f"\\u{code:04X}" for code in (0xFEFF, 0xFFFE, 0xFFFF)},
    **{ord(character): f"\\{letter}" for character, letter in _NAMED_ESCAPES.items()},
}

MAX_KEY_BYTES = 128
"""libyaml's limit. A longer key is written in the long form, `? key`, and its value on the next line."""


def to_yaml(document: Mapping[str, Any]) -> str:
    """A JSON object that is not empty as YAML, with its keys in order. It may be nested 100 levels deep."""
    out: list[str] = []
    _write_mapping(out, document, 0, "")
    out.append("\n")
    return "".join(out)


def _write_mapping(out: list[str], mapping: Mapping[str, Any], indent: int, lead: str) -> None:
    """`lead` comes before the first key; each further one begins a line."""
    line = "\n" + " " * indent
    for key, value in mapping.items():
        if _is_simple_key(key):
            out += (lead, _text(key, indent + 2), ":")
            _write_value(out, value, indent)
        else:
            out += (lead, "? ", _text(key, indent + 2), line, ":")
            _write_item(out, value, indent)
        lead = line


def _write_value(out: list[str], value: Any, indent: int) -> None:
    """The value after a key: a collection begins on the next line, a list no deeper than the key."""
    if type(value) is str:
        out += (" ", _text(value, indent + 2))
    elif type(value) is dict and value:
        _write_mapping(out, value, indent + 2, "\n" + " " * (indent + 2))
    elif type(value) is list and value:
        _write_sequence(out, value, indent, "\n" + " " * indent)
    else:
        out += (" ", _scalar(value))


def _write_sequence(out: list[str], sequence: list[Any], indent: int, lead: str) -> None:
    line = "\n" + " " * indent
    for value in sequence:
        out += (lead, "-")
        _write_item(out, value, indent)
        lead = line


def _write_item(out: list[str], value: Any, indent: int) -> None:
    """The value after a `-`, or after the `:` of a long key: a collection begins on the same line."""
    if type(value) is str:
        out += (" ", _text(value, indent + 2))
    elif type(value) is dict and value:
        _write_mapping(out, value, indent + 2, " ")
    elif type(value) is list and value:
        _write_sequence(out, value, indent + 2, " ")
    else:
        out += (" ", _scalar(value))


def _scalar(value: Any) -> str:
    """Anything but a text and collections with items."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    return "null" if value is None else str(value)


def _float(value: float) -> str:
    if isnan(value):
        return ".nan"
    if isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = repr(value)
    # YAML 1.1 reads 1e17 as a text, and 1.0e+17 as a number.
    return text if "." in text else text.replace("e", ".0e", 1)


def _text(text: str, indent: int) -> str:
    """A text in the first style that can hold it: plain, in single quotes, in double quotes."""
    if _SPECIAL.search(text) or _BREAK_AND_SPACE.search(text):
        return _double_quoted(text)
    if _BREAK.search(text):
        return _single_quoted(text, indent)
    if not text or _NOT_PLAIN.match(text) or _NOT_PLAIN_WITHIN.search(text) or _is_resolved(text):
        return "'" + text.replace("'", "''") + "'"
    return text


def _is_resolved(text: str) -> bool:
    return any(pattern.match(text) for _, pattern in _RESOLVERS.get(text[0], ()))


def _single_quoted(text: str, indent: int) -> str:
    """A line break within quotes is read as a space, so that one is written as two."""
    margin = " " * indent

    def broken(run: re.Match[str]) -> str:
        breaks = run[0]
        return ("\n" if breaks[0] == "\n" else "") + breaks + margin

    return "'" + _BREAK.sub(broken, text.replace("'", "''")) + "'"


def _double_quoted(text: str) -> str:
    escapes = _ESCAPES
    if max(text) > "\uffff":
        escapes = {**_ESCAPES, **{ord(each): f"\\U{ord(each):08X}" for each in set(text) if each > "\uffff"}}
    return '"' + text.translate(escapes) + '"'


def _is_simple_key(key: str) -> bool:
    return len(key) <= MAX_KEY_BYTES and len(key.encode()) <= MAX_KEY_BYTES and not _BREAK_IN_KEY.search(key)
