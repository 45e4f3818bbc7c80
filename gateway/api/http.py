"""The little of ASGI that the hot route needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litestar.types import Scope, Send

ANSWER = "rerank_gateway.answer"
"""An ASGI extension, where the server has it: gateway.server.protocol.SingleWriteResponse."""


async def respond(scope: Scope, send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    """Send a JSON answer."""
    extensions: Any = scope.get("extensions")
    whole = extensions and extensions.get(ANSWER)
    if whole and whole.can_replace(send):
        whole(status, headers, body)
        return
    raw = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    raw += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def method(scope: Scope) -> str:
    """The HTTP method, upper case."""
    return scope["method"]  # type: ignore[typeddict-item]  # a websocket scope never reaches an HTTP route
