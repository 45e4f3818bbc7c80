"""Headers as they go over the wire, to callers and to upstreams."""

from __future__ import annotations

from collections.abc import Mapping


def encode_headers(headers: Mapping[str, str]) -> str:
    """One line each, with its end. Raises ValueError for a line break in one, which would forge another."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        raise ValueError("a header's value has a line break")
    return lines
