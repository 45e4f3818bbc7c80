"""Paths as users get them wrong: a base with a version too many, a doubled slash, a slash at the end.

Clients append their own path to whatever base they are given, and several of them follow no redirect with a POST, so
the path is put right in place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

_SLASHES = re.compile(r"//+")
_VERSIONS = re.compile(r"(?:/v\d+)+(?=/v\d+/)")


class PathNormalization:
    """An application that also answers under misspelt paths.

    Args:
        app: what answers.
        direct: what answers on exactly these paths, past the routing, which costs CPU (docs/performance.md).
    """

    def __init__(self, app: ASGIApp, direct: Mapping[str, ASGIApp]) -> None:
        self._app = app
        self._direct = direct

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        direct = self._direct.get(scope["path"])
        if direct is not None and scope["type"] == ScopeType.HTTP:
            return await direct(scope, receive, send)
        path = normalize(scope["path"])
        if path != scope["path"]:
            scope["path"] = path
            scope["raw_path"] = quote(path).encode("ascii")
        return await self._app(scope, receive, send)


def normalize(path: str) -> str:
    """The path with single slashes, none at the end, and only the last of several versions in a row."""
    single = _SLASHES.sub("/", path)
    return _VERSIONS.sub("", single).rstrip("/") or "/"
