"""A connection on which no request comes to be is closed: of those an attacker could hold any number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvicorn
from litestar import Litestar, get

from gateway.server import protocol
from gateway.server.protocol import BoundedProtocol


@get("/", sync_to_thread=False)
def hello() -> str:
    return "hello"


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server that waits for heads for a moment only, and for the next request for ever."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.5)
    options = uvicorn.Config(
        Litestar([hello]), port=0, http=BoundedProtocol, timeout_keep_alive=600, log_config=None, lifespan="off"
    )
    server = uvicorn.Server(options)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn tells nobody
        await asyncio.sleep(0)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
NEVER_COMPLETE: dict[str, list[bytes]] = {
    "nothing": [],
    "half a head": [b"GET / HTTP/1.1\r\nhost"],
    "an empty line, which is no beginning": [b"\r\n"],
    "half a head after a request": [REQUEST, b"GET / HT"],
    "an empty line after a request": [REQUEST, b"\r\n"],
}


@pytest.mark.parametrize("pieces", NEVER_COMPLETE.values(), ids=NEVER_COMPLETE.keys())
async def test_a_head_that_never_comes_ends_the_connection(pieces: list[bytes], port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        if piece == REQUEST:
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    writer.close()


async def test_a_connection_between_two_requests_stays_open(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):
        writer.write(REQUEST)
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(0.6)  # longer than a head may take
    writer.close()
