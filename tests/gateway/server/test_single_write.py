"""An answer leaves in one write where nobody stands in between, and is the same answer everywhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvicorn
from litestar.types import Message, Receive, Scope, Send

from gateway.api.http import ANSWER, respond
from gateway.server.protocol import BoundedProtocol

App = Callable[[Scope, Receive, Send], Awaitable[None]]
GET = b"GET /%d HTTP/1.1\r\nhost: a\r\n\r\n"


async def whole(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["extensions"][ANSWER].can_replace(send) == (scope["method"] != "HEAD")  # type: ignore[index]  # the server sets it
    await respond(scope, send, 200, scope["path"].encode(), {"x-request-id": "r"})


async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
    """As behind a middleware that adds a header."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"x-added", b"yes")]
        await send(message)

    assert not scope["extensions"][ANSWER].can_replace(sent)  # type: ignore[index]  # the server sets it
    await respond(scope, sent, 200, scope["path"].encode(), {"x-request-id": "r"})


async def in_turns(scope: Scope, receive: Receive, send: Send) -> None:
    await (whole if int(scope["path"][1:]) % 2 else wrapped)(scope, receive, send)


async def closing(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(scope, send, 503, b"{}", {"connection": "close"})


async def unknown(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(scope, send, 529, b"{}", {})


async def forged(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(scope, send, 200, b"{}", {"x-model": "a\r\nset-cookie: b=c"})


@asynccontextmanager
async def serving(app: App) -> AsyncIterator[uvicorn.Server]:
    options = uvicorn.Config(
        app,  # type: ignore[arg-type]  # uvicorn has its own names for the same shapes
        port=0,
        http=BoundedProtocol,
        log_config=None,
        lifespan="off",
        server_header=False,
        date_header=False,
    )
    server = uvicorn.Server(options)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn tells nobody
        await asyncio.sleep(0)
    try:
        yield server
    finally:
        server.should_exit = True
        await task


def port_of(server: uvicorn.Server) -> int:
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port


async def exchanged(server: uvicorn.Server, request: bytes, length: int | None = None) -> bytes:
    """What comes for these bytes: so much, or all until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    writer.write(request)
    try:
        async with asyncio.timeout(10):
            return await (reader.read() if length is None else reader.readexactly(length))
    finally:
        writer.close()


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nx-request-id: r\r\n"

ANSWERS: dict[str, tuple[App, bytes, bool, bytes]] = {
    "alone": (whole, GET % 1, True, HEAD + b"\r\n/1"),
    "behind a middleware": (wrapped, GET % 1, True, HEAD + b"x-added: yes\r\n\r\n/1"),
    "two requests in one piece": (whole, GET % 1 + GET % 2, True, HEAD + b"\r\n/1" + HEAD + b"\r\n/2"),
    "one way after the other": (
        in_turns, GET % 1 + GET % 2 + GET % 3, True,
        HEAD + b"\r\n/1" + HEAD + b"x-added: yes\r\n\r\n/2" + HEAD + b"\r\n/3",
    ),
    "only the head": (
        whole, b"HEAD /1 HTTP/1.1\r\nhost: a\r\n\r\n" + GET % 2, True, HEAD + b"\r\n" + HEAD + b"\r\n/2",
    ),
    "the caller wants it closed": (
        whole, b"GET /1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", False,
        HEAD + b"connection: close\r\n\r\n/1",
    ),
    "an old caller": (whole, b"GET /1 HTTP/1.0\r\n\r\n", False, HEAD + b"connection: close\r\n\r\n/1"),
    "the gateway wants it closed": (
        closing, GET % 1, False,
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
        b"connection: close\r\n\r\n{}",
    ),
    "a status without a name": (
        unknown, GET % 1, True, b"HTTP/1.1 529 \r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("app", "request_", "stays", "answer"), ANSWERS.values(), ids=ANSWERS)
async def test_an_answer(app: App, request_: bytes, stays: bool, answer: bytes) -> None:
    async with serving(app) as server:
        assert await exchanged(server, request_, len(answer) if stays else None) == answer


async def test_a_header_cannot_be_forged() -> None:
    async with serving(forged) as server:
        answer = await exchanged(server, GET % 1)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"set-cookie" not in answer


async def test_an_answer_for_a_caller_who_has_gone_is_dropped() -> None:
    gone, over = asyncio.Event(), asyncio.Event()

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()
        await respond(scope, send, 200, b"{}", {})
        over.set()

    async with serving(late) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        writer.write(GET % 1)
        await writer.drain()
        writer.close()
        await asyncio.wait_for(over.wait(), 10)
        assert gone.is_set()


async def test_a_large_answer_arrives_whole() -> None:
    body = bytes(range(256)) * 40_000

    async def large(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(scope, send, 200, body, {"connection": "close"})

    async with serving(large) as server:
        answer = await exchanged(server, GET % 1)
    assert answer.endswith(b"\r\n\r\n" + body)


async def test_a_stop_in_the_turn_of_an_answer_loses_none() -> None:
    async def last(scope: Scope, receive: Receive, send: Send) -> None:
        await whole(scope, receive, send)
        for connection in list(server.server_state.connections):
            connection.shutdown()

    async with serving(last) as server:
        assert await exchanged(server, GET % 1) == HEAD + b"\r\n/1"
