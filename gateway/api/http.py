"""The few operations of ASGI that the hot route needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from litestar.types import Scope, Send

ANSWER = "rerank_gateway.answer"
"""Name of an ASGI extension that holds a SingleWrite, where the server offers it (gateway.server.protocol)."""


class SingleWrite(Protocol):
    """Sends a whole JSON response at once, in place of the two messages that ASGI needs."""

    def can_replace(self, send: Send) -> bool:
        """Whether it has the same effect as `send`, which is not so behind middleware that wraps `send`."""
        ...

    def __call__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send the response."""
        ...


async def respond(scope: Scope, send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    """Send a JSON answer."""
    extensions: Any = scope.get("extensions")
    single_write: SingleWrite | None = extensions.get(ANSWER) if extensions else None
    if single_write is not None and single_write.can_replace(send):
        single_write(status, headers, body)
        return
    raw = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    raw += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def method(scope: Scope) -> str:
    """The HTTP method, in upper case."""
    return scope["method"]  # type: ignore[typeddict-item]  # a websocket scope never reaches an HTTP route
