"""Correct the usual mistakes in paths: a repeated version, a doubled slash, a slash at the end.

Clients append their own path to the base URL that the user gives, and several do not follow a redirect with a POST. So
the path is corrected in place.
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
    """Routes a request by its corrected path.

    Args:
        app: the application behind it.
        direct: applications by their exact path, which skip Litestar's routing to save CPU (docs/performance.md).
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
