"""The request id: taken from the caller if it is sane, else made, and sent back with every answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from random import getrandbits

from litestar.types import ASGIApp, Message, Receive, Scope, Send

NAME = b"x-request-id"

_SANE = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


def request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The `x-request-id` of these ASGI headers; a new one if it is absent, overlong or could forge a log line."""
    for name, value in headers:
        if name == NAME and _SANE.fullmatch(value):
            return value.decode("ascii")
    return f"{getrandbits(128):032x}"


class Identified:
    """An application whose every answer names its request. The hot routes do so themselves.

    Args:
        app: what answers.
        named: paths to leave alone.
    """

    def __init__(self, app: ASGIApp, named: Iterable[str]) -> None:
        self._app = app
        self._named = frozenset(named)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in self._named:
            return await self._app(scope, receive, send)
        asked = scope["headers"]

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                if not any(name == NAME for name, _ in headers):
                    message["headers"] = [*headers, (NAME, request_id(asked).encode("ascii"))]
            await send(message)

        return await self._app(scope, receive, sent)
