"""How large and how deeply nested a request body may be, so that one caller cannot use up the memory of all."""

from __future__ import annotations

import re

from gateway.config.limits import RequestLimitSettings
from gateway.errors import TooLarge
from providers.errors import InvalidRequest

_PIECE_BYTES = 256 * 1024
"""Of a body, looked at together. Between the pieces other threads may run."""

_BRACES_TO_BRACKETS = bytes.maketrans(b"{}", b"[]")
_STRING = re.compile(rb'"[^"]*"')
_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b'[]{}",')


def body_too_large(settings: RequestLimitSettings) -> TooLarge:
    """The error for a body over the limit."""
    return TooLarge(
        f"the request body has more than {settings.body_bytes} bytes, the limit (request_limits.body_bytes)"
    )


def check_structure(body: bytes, settings: RequestLimitSettings) -> None:
    """Look for JSON that would take long to decode or to walk through, without decoding it.

    Cheap if the body has few brackets, and less than two bytes for each value that it may have.

    Raises:
        InvalidRequest: it is nested too deeply.
        TooLarge: it has too many values.
    """
    if _has_more_brackets(body, settings.json_depth) or _may_have_more_values(body, settings.json_values):
        _Structure(settings).scan(body)


def _has_more_brackets(body: bytes, limit: int) -> bool:
    """Whether there are more opening brackets, in texts or not. Finding each is 20 times as fast as counting."""
    count = 0
    for bracket in (b"{", b"["):
        position = body.find(bracket)
        while position >= 0:
            count += 1
            if count > limit:
                return True
            position = body.find(bracket, position + 1)
    return False


def _may_have_more_values(body: bytes, limit: int) -> bool:
    return len(body) // 2 > limit and sum(map(body.count, (b",", b"[", b"{"))) > limit


class _Structure:
    """The brackets and commas of a JSON text outside of its strings, seen piece by piece.

    It uses only methods of bytes and one regular expression, whose loops run in C.
    """

    def __init__(self, settings: RequestLimitSettings) -> None:
        self._max_depth, self._max_values = settings.json_depth, settings.json_values
        self._depth = self._values = 0
        self._in_string = False

    def scan(self, body: bytes) -> None:
        """Raises as `check_structure`. What is no JSON at all passes: the decoder tells what is wrong with it."""
        start = 0
        while start < len(body):
            end = _end_of_piece(body, start)
            self._add(self._outside_of_strings(body[start:end]))
            start = end

    def _outside_of_strings(self, piece: bytes) -> bytes:
        quoted = piece.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, _NOT_STRUCTURE)
        if self._in_string:
            quoted = b'"' + quoted
        # Removing an empty string does not change whether what follows is inside or outside of a string.
        structure = _STRING.sub(b"", quoted.replace(b'""', b""))
        structure, unfinished, _ = structure.partition(b'"')
        self._in_string = bool(unfinished)
        return structure

    def _add(self, structure: bytes) -> None:
        brackets = structure.translate(_BRACES_TO_BRACKETS, b",")
        opened = brackets.count(b"[")
        self._values += len(structure) - len(brackets) + opened
        before, self._depth = self._depth, max(0, self._depth + 2 * opened - len(brackets))
        if self._depth > self._max_depth or self._is_deeper(b"[" * before + brackets + b"]" * self._depth):
            raise InvalidRequest(
                f"the JSON is nested more than {self._max_depth} levels deep, the limit (request_limits.json_depth)"
            )
        if self._values > self._max_values:
            raise TooLarge(f"the JSON has more than {self._max_values} values, the limit (request_limits.json_values)")

    def _is_deeper(self, brackets: bytes) -> bool:
        """Whether brackets that match nest deeper than they may: each step removes the innermost level."""
        for _ in range(self._max_depth):
            brackets, previous = brackets.replace(b"[]", b""), brackets
            if len(brackets) == len(previous):
                break
        return b"[]" in brackets


def _end_of_piece(body: bytes, start: int) -> int:
    """Where the piece that begins at `start` ends: never between a backslash and what it escapes."""
    end = start + _PIECE_BYTES
    piece = body[start:end]
    backslashes = len(piece) - len(piece.rstrip(b"\\"))
    return end + backslashes % 2
