"""The little of ASGI that the hot route needs."""

from __future__ import annotations

from collections.abc import Mapping

from litestar.types import Receive, Scope, Send

from gateway.errors import CallerGone


async def read_body(receive: Receive) -> bytes:
    """The whole request body. Raises CallerGone if the caller hangs up before its end."""
    message = await receive()
    if message["type"] != "http.request":
        raise CallerGone
    if not message.get("more_body"):
        return message["body"]
    chunks = [message["body"]]
    while message.get("more_body"):
        message = await receive()
        if message["type"] != "http.request":
            raise CallerGone
        chunks.append(message["body"])
    return b"".join(chunks)


async def respond(send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    """Send a JSON answer."""
    raw = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    raw += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def method(scope: Scope) -> str:
    """The HTTP method, upper case."""
    return scope["method"]  # type: ignore[typeddict-item]  # a websocket scope never reaches an HTTP route
