"""Header lines as HTTP/1.1 writes them, in requests and in responses."""

from __future__ import annotations

from collections.abc import Mapping


def encode_headers(headers: Mapping[str, str]) -> str:
    """One line per header, each with its line break.

    Raises:
        ValueError: a name or value contains a line break, which would add a header of its own (header injection).
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        raise ValueError("a header's value has a line break")
    return lines
