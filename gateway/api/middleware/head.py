"""Answer HEAD wherever GET is answered, without the body (RFC 9110 section 9.3.2)."""

from __future__ import annotations

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.http import method


class HeadAsGet:
    """Routes a HEAD as the GET that it asks about, and sends of its answer the status and the headers.

    Args:
        app: the application behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or method(scope) != "HEAD":
            return await self._app(scope, receive, send)

        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        # A copy: the server has to know that the answer has no body.
        get: Scope = {**scope, "method": "GET"}
        return await self._app(get, receive, send_head)
