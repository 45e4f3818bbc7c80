"""Names in a URL. In its path they come from callers, who must not reach another endpoint by them."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from msgspec import Meta

from providers.errors import InvalidRequest

UrlName = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]+$")]
"""A region, account or project that an operator names in `options`, and that a URL is made with."""


def quote_segment(name: str) -> str:
    """The name as one segment of a path, with everything quoted that could end it (RFC 3986 section 3.3).

    Raises InvalidRequest for what no quoting makes a name: nothing, `.` and `..`, which clients and servers resolve.
    """
    if name in ("", ".", ".."):
        raise InvalidRequest(f'"{name}" cannot be part of a URL, where this provider takes the name of its model')
    return quote(name, safe="@:", errors="replace")


def quote_path(name: str) -> str:
    """As `quote_segment`, for a name whose slashes part segments, such as `BAAI/bge-reranker-v2-m3`."""
    return "/".join(map(quote_segment, name.split("/")))
