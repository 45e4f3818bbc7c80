"""A real HTTP/1.1 server on loopback whose every fault is scripted, byte by byte."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answer = Callable[["Exchange"], Awaitable[None]]


@dataclass
class Exchange:
    """One request as it arrived, and the connection to answer on."""

    head: str
    body: bytes
    connection: int
    writer: asyncio.StreamWriter

    @property
    def line(self) -> str:
        return self.head.split("\r\n", 1)[0]

    def header(self, name: str) -> str | None:
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name:
                return value.strip()
        return None

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


@dataclass
class Loopback:
    """What the server saw, and what it answers: the last answer repeats."""

    answers: list[Answer]
    port: int = 0
    scheme: str = "http"
    exchanges: list[Exchange] = field(default_factory=list)
    connections: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a request has come."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client has closed its connection."""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}/rerank?tenant=hidden"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        connection = self.connections
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                exchange = Exchange(head, b"", connection, writer)
                exchange.body = await reader.readexactly(int(exchange.header("content-length") or 0))
                self.exchanges.append(exchange)
                self.arrived.set()
                await self.answers[min(len(self.exchanges), len(self.answers)) - 1](exchange)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            self.gone.set()
        finally:
            writer.close()


@asynccontextmanager
async def loopback(*answers: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Loopback]:
    """Serve these answers, one after the other, until the block ends."""
    server = Loopback(list(answers), scheme="https" if tls else "http")
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        for writer in server.writers:
            writer.transport.abort()
        listening.close()
        await listening.wait_closed()


def reply(status: int = 200, body: bytes = b"{}", **headers: str) -> Answer:
    """A complete answer; underscores in header names stand for hyphens."""
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return raw("\r\n".join([*lines, "", ""]).encode() + body)


def raw(data: bytes) -> Answer:
    """Exactly these bytes, and the connection stays open."""

    async def answer(exchange: Exchange) -> None:
        await exchange.write(data)

    return answer


def then_close(data: bytes) -> Answer:
    """These bytes, then a clean close."""

    async def answer(exchange: Exchange) -> None:
        await exchange.write(data)
        exchange.close()

    return answer


def then_reset(data: bytes) -> Answer:
    """These bytes, then a connection reset."""

    async def answer(exchange: Exchange) -> None:
        await exchange.write(data)
        exchange.reset()

    return answer


async def hang(exchange: Exchange) -> None:
    """Never an answer; ends when the client goes away."""
    await asyncio.sleep(0)
