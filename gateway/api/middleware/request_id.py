"""Every answer names its request."""

from __future__ import annotations

from collections.abc import Iterable

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.request_id import NAME, request_id


class RequestIdMiddleware:
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
