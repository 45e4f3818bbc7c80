"""For comparison, the least that a Python gateway does: an ASGI application that passes bytes on with aiohttp."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

URL = os.environ.get("BENCHMARK_UPSTREAM", "")
Message = dict[str, Any]
_session: aiohttp.ClientSession | None = None


async def app(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Send the body of each request to BENCHMARK_UPSTREAM, and return its response."""
    global _session
    if scope["type"] != "http":
        return
    if _session is None:
        _session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1000))
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message.get("more_body"):
            break
    async with _session.post(URL, data=body, headers={"content-type": "application/json"}) as answer:
        content = await answer.read()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
