"""`/mcp`: the tools over Streamable HTTP, behind the same keys, limits and budgets as every other request.

Each request stands for itself (no sessions), so that any worker can answer it. The package `mcp` is imported only where
`server.mcp` is on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from litestar.handlers import asgi
from litestar.handlers.asgi_handlers import ASGIRouteHandler
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api import auth, errors
from gateway.api.body import header_values, read_body
from gateway.api.dialects.unified.error_body import error_body
from gateway.api.disconnect import DisconnectWatcher
from gateway.api.error_status import status_of
from gateway.api.http import method, respond
from gateway.api.origins import check_origin
from gateway.api.request_id import request_id
from gateway.errors import CallerGone
from gateway.runtime.service import Service
from providers.errors import RerankError
from providers.types import Call

if TYPE_CHECKING:
    from gateway.api.mcp.tools import Headers, HttpAnswer

PATH = "/mcp"

FORWARDED = ("authorization", "x-api-key", "api-key", "host", "origin", "sec-fetch-site", "traceparent", "tracestate",
             "x-request-timeout-ms")  # fmt: skip
"""The agent's headers that go with the requests of its tools: who it is, for how long it waits, and its trace."""


class McpEndpoint:
    """Serves the tools of one application, between `run` and its end.

    Args:
        service: the gateway behind it.
    """

    def __init__(self, service: Service) -> None:
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        from gateway.api.mcp.tools import build_server

        logging.getLogger("mcp").setLevel(logging.WARNING)  # It tells of each start and stop.
        self._service = service
        self._app: ASGIApp
        self._manager = StreamableHTTPSessionManager(
            build_server(self._ask),
            json_response=True,
            stateless=True,
            max_request_body_size=service.config.request_limits.body_bytes,
        )

    def run(self) -> AbstractAsyncContextManager[None]:
        """Serve within this block, which one task must enter and leave."""
        return self._manager.run()

    def route(self) -> ASGIRouteHandler:
        """The route."""

        async def serve_mcp(scope: Scope, receive: Receive, send: Send) -> None:
            await self(scope, receive, send)

        return asgi(PATH, copy_scope=False, name="mcp")(serve_mcp)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of an agent."""
        self._app = scope["app"]
        if method(scope) != "POST":
            return await self._refuse(scope, send, 405, "use POST", "method_not_allowed", {"allow": "POST"})
        headers = header_values(scope["headers"])
        try:
            auth.principal(self._service, scope["headers"])
            if self._service.keys is None:
                check_origin(headers, self._service.config.server.cors)
            body = await read_body(receive, headers, self._service.config.request_limits)
        except CallerGone:
            return None
        except RerankError as error:
            more = errors.headers(error)
            return await self._refuse(scope, send, status_of(error), error.message, error.code, more)
        watch = DisconnectWatcher(receive)
        try:
            await self._manager.handle_request(scope, _replay(body), send)  # type: ignore[arg-type]
        except asyncio.CancelledError:
            if not watch.gone:
                raise
        finally:
            watch.stop()
        return None

    async def _refuse(
        self, scope: Scope, send: Send, status: int, message: str, code: str, headers: dict[str, str]
    ) -> None:
        call = Call(id=request_id(scope["headers"]))
        await respond(scope, send, status, error_body(message, code, call), {**headers, "x-request-id": call.id})

    async def _ask(self, verb: str, path: str, headers: Headers, body: bytes) -> HttpAnswer:
        """Send a request of a tool through this very application."""
        from gateway.api.mcp.tools import HttpAnswer

        answer = _Collected()
        await self._app(_scope(verb, path, headers, body), _replay(body), answer.send)
        return HttpAnswer(answer.status, bytes(answer.body), b"x-gateway-degraded" in answer.headers)


class _Collected:
    """Keeps what an application sends."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        elif message["type"] == "http.response.body":
            self.body += message["body"]


def _scope(verb: str, path: str, headers: Headers, body: bytes) -> Any:
    sent = [(name.encode(), headers[name].encode("latin-1")) for name in FORWARDED if name in headers]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": verb,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [*sent, (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))],
        "client": None,
        "server": None,
        "state": {},
    }


def _replay(body: bytes) -> Receive:
    """An ASGI `receive` that gives a body that has been read, and then nothing ever."""
    first: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if first:
            return first.pop()
        return await asyncio.get_running_loop().create_future()

    return receive


@asynccontextmanager
async def running(endpoint: McpEndpoint | None) -> AsyncIterator[None]:
    """Serve the tools within this block, if there are any."""
    if endpoint is None:
        yield
        return
    async with endpoint.run():
        yield
