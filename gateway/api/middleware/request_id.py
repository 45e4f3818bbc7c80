"""Add the request id to every answer."""

from __future__ import annotations

from collections.abc import Iterable

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.request_id import HEADER, request_id


class RequestIdMiddleware:
    """Adds `x-request-id` to answers that lack it.

    Args:
        app: the application behind it.
        except_paths: routes that add it themselves, left alone to save CPU.
    """

    def __init__(self, app: ASGIApp, except_paths: Iterable[str]) -> None:
        self._app = app
        self._except_paths = frozenset(except_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in self._except_paths:
            return await self._app(scope, receive, send)
        request_headers = scope["headers"]

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                if not any(name == HEADER for name, _ in headers):
                    message["headers"] = [*headers, (HEADER, request_id(request_headers).encode("ascii"))]
            await send(message)

        return await self._app(scope, receive, send_with_id)
