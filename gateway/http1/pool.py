"""Connections to upstream servers: opened when needed, kept while they are idle, never more at work than allowed."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohappyeyeballs
from msgspec import Struct, field

from gateway.http1.connection import Connection, ConnectionClosed

_SECOND_ADDRESS = 0.25
"""Seconds after which the next address of a host is tried too (RFC 8305 section 5)."""

_RESOLVED = 30.0
"""Seconds that an answer of the name service is kept."""

_NEVER = float("-inf")

Addresses = Sequence[aiohappyeyeballs.AddrInfoType]


class ConnectTimeout(TimeoutError):
    """No connection came about in time."""


class PoolTimeout(TimeoutError):
    """All connections that are allowed were at work for too long."""


class Origin(Struct, eq=False):
    """A server, and the connections to it that are idle, the latest last, each with the time since when it is."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    idle: dict[Connection, float] = field(default_factory=dict)
    lookup: asyncio.Future[Any] | None = None
    looked_up: float = _NEVER
    turn: int = 0


class Pool:
    """Must be made and used on one running event loop.

    Args:
        limit: connections at work at once.
        keepalive: seconds that an idle connection is kept.
        answer_bytes: longest acceptable answer body.
        unix_socket: path of the socket that every origin is reached by, in place of a network.
    """

    def __init__(self, limit: int, keepalive: float, answer_bytes: int, unix_socket: str | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._places = asyncio.Semaphore(limit)
        self._keepalive = keepalive
        self._answer_bytes = answer_bytes
        self._unix_socket = unix_socket
        self._open: set[Connection] = set()
        self._origins: dict[tuple[str, int, bool], Origin] = {}
        self._is_closed = False
        self._sweeping: asyncio.TimerHandle | None = None
        self.leave = self._places.release

    def origin(self, host: str, port: int, tls: ssl.SSLContext | None) -> Origin:
        """A server to connect to."""
        return self._origins.setdefault((host, port, tls is not None), Origin(host, port, tls))

    async def acquire(self, patience: float, end: float) -> None:
        """Wait for a place among the connections at work, which `leave` gives back.

        Raises PoolTimeout after `patience` seconds, TimeoutError at the `end` in the event loop's time.
        """
        if not self._places.locked():
            await self._places.acquire()
            return
        async with _within(self._loop, patience, end, PoolTimeout):
            await self._places.acquire()

    def idle(self, origin: Origin) -> Connection | None:
        """The connection that was used last, if there is one."""
        latest = self._loop.time() - self._keepalive
        while origin.idle:
            connection, since = origin.idle.popitem()
            if since > latest:
                return connection
            connection.close()
        return None

    async def connect(self, origin: Origin, patience: float, end: float) -> Connection:
        """A new connection.

        Raises:
            ConnectTimeout: after `patience` seconds.
            TimeoutError: at the `end`.
            ConnectionClosed: after `aclose`.
            OSError: as the system gives it.
        """
        self._check()
        async with _within(self._loop, patience, end, ConnectTimeout):
            if self._unix_socket is not None:
                _, connection = await self._loop.create_unix_connection(lambda: self._made(origin), self._unix_socket)
            else:
                connection = await self._connect(origin)
        if self._is_closed:
            connection.close()
        self._check()
        self._open.add(connection)
        return connection

    async def aclose(self) -> None:
        """Close every connection. What is under way fails with ConnectionClosed or IncompleteResponse."""
        self._is_closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in list(self._open):
            connection.close()
        await asyncio.sleep(0)

    async def _connect(self, origin: Origin) -> Connection:
        opened = await self._opened(origin)
        _, connection = await self._loop.create_connection(
            lambda: self._made(origin),
            sock=opened,
            ssl=origin.tls,
            server_hostname=origin.host if origin.tls else None,
        )
        return connection

    async def _opened(self, origin: Origin) -> socket.socket:
        try:
            return await aiohappyeyeballs.start_connection(
                await self._addresses(origin),
                happy_eyeballs_delay=_SECOND_ADDRESS,
                interleave=1,
                loop=self._loop,
                socket_factory=_socket,
            )
        except (OSError, UnicodeError) as error:
            origin.looked_up = _NEVER  # Perhaps it has moved.
            kind, told = type(error), error.args
        # Not the error itself: it is part of a cycle, and would keep the caller's frames with the body in them.
        raise kind(*told)

    async def _addresses(self, origin: Origin) -> Addresses:
        """Where the server is. Connections that are opened at once share one look-up."""
        now, lookup = self._loop.time(), origin.lookup
        if lookup is None or now - origin.looked_up > _RESOLVED or _has_failed(lookup):
            lookup = asyncio.ensure_future(self._loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM))
            origin.lookup, origin.looked_up = lookup, now
        addresses: Addresses = await asyncio.shield(lookup)
        # A name with several addresses is a set of servers, each of which has its turn.
        origin.turn = (origin.turn + 1) % len(addresses)
        return [*addresses[origin.turn :], *addresses[: origin.turn]]

    def _made(self, origin: Origin) -> Connection:
        def rests(connection: Connection) -> None:
            if self._is_closed:
                connection.close()
                return
            origin.idle[connection] = self._loop.time()
            if self._sweeping is None:
                self._sweeping = self._loop.call_later(self._keepalive, self._sweep)

        def closes(connection: Connection) -> None:
            origin.idle.pop(connection, None)
            self._open.discard(connection)

        return Connection(self._loop, self._answer_bytes, rests, closes)

    def _check(self) -> None:
        if self._is_closed:
            raise ConnectionClosed

    def _sweep(self) -> None:
        """Close what has been idle for too long, and look again while anything is idle."""
        self._sweeping = None
        latest = self._loop.time() - self._keepalive
        for origin in self._origins.values():
            for connection in [own for own, since in origin.idle.items() if since <= latest]:
                connection.close()
        if any(origin.idle for origin in self._origins.values()):
            self._sweeping = self._loop.call_later(self._keepalive, self._sweep)


@asynccontextmanager
async def _within(
    loop: asyncio.AbstractEventLoop, patience: float, end: float, late: type[TimeoutError]
) -> AsyncIterator[None]:
    """Raises `late` after `patience` seconds, and TimeoutError at the `end` if that is sooner."""
    due = loop.time() + patience
    try:
        async with asyncio.timeout_at(min(due, end)):
            yield
    except TimeoutError:
        raise (late() if due < end else TimeoutError()) from None


def _has_failed(lookup: asyncio.Future[Any]) -> bool:
    return lookup.done() and (lookup.cancelled() or lookup.exception() is not None)


def _socket(address: aiohappyeyeballs.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    opened = socket.socket(family, kind, protocol)
    opened.setblocking(False)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # An answer may take minutes: a peer that is gone without a word is noticed by the system.
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return opened
