"""A pool of client connections: opened on demand, kept while idle, limited in number while in use."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohappyeyeballs
from msgspec import Struct, field

from gateway.http1.addresses import AddressCache
from gateway.http1.connection import Connection, ConnectionClosed

_CONNECTION_ATTEMPT_DELAY = 0.25
"""Seconds after which the next address of a host is tried as well (RFC 8305 section 5)."""


class ConnectTimeout(TimeoutError):
    """No connection was established in time."""


class PoolTimeout(TimeoutError):
    """No connection became free in time."""


class Origin(Struct, eq=False):
    """A server: scheme, host and port (RFC 9110 section 4.3.1), with its idle connections.

    Attributes:
        tls: gives the context for a new connection; None for plain HTTP.
        idle: each idle connection with the time since when it has been idle; the latest comes last.
        addresses: where it is.
    """

    host: str
    port: int
    tls: Callable[[], ssl.SSLContext] | None
    addresses: AddressCache
    idle: dict[Connection, float] = field(default_factory=dict)


class Pool:
    """The connections of one client. Create and use it on one running event loop.

    A request calls `acquire`, then `pop_idle` or `connect`, and at the end `release`.

    Args:
        max_connections: connections in use at the same time.
        keepalive: seconds for which an idle connection is kept.
        unix_socket: path of a Unix socket that every origin is reached through, instead of the network.
    """

    def __init__(self, max_connections: int, keepalive: float, unix_socket: str | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(max_connections)
        self._keepalive = keepalive
        self._unix_socket = unix_socket
        self._connections: set[Connection] = set()
        self._origins: dict[tuple[str, int, bool], Origin] = {}
        self._is_closed = False
        self._expiry_timer: asyncio.TimerHandle | None = None
        self.release = self._slots.release

    def origin(self, host: str, port: int, tls: Callable[[], ssl.SSLContext] | None) -> Origin:
        """The origin with this address; always the same object."""
        return self._origins.setdefault(
            (host, port, tls is not None), Origin(host, port, tls, AddressCache(host, port))
        )

    async def acquire(self, pool_timeout: float, deadline: float) -> bool:
        """Wait for permission to use a connection; give it back with `release`. Returns whether it had to wait.

        Raises:
            PoolTimeout: after `pool_timeout` seconds, or at the `deadline`, in the event loop's time.
        """
        if not self._slots.locked():
            # The usual case, without the cost of a timer.
            await self._slots.acquire()
            return False
        try:
            async with asyncio.timeout_at(min(self._loop.time() + pool_timeout, deadline)):
                await self._slots.acquire()
        except TimeoutError:
            raise PoolTimeout from None
        return True

    def pop_idle(self, origin: Origin) -> Connection | None:
        """The idle connection that was used last, or None. The longest idle ones so get to expire."""
        expired_since = self._loop.time() - self._keepalive
        while origin.idle:
            connection, idle_since = origin.idle.popitem()
            if idle_since > expired_since:
                return connection
            connection.close()
        return None

    async def connect(self, origin: Origin, connect_timeout: float, deadline: float) -> Connection:
        """Open a new connection.

        Raises:
            ConnectTimeout: after `connect_timeout` seconds.
            TimeoutError: at the `deadline`, in the event loop's time.
            ConnectionClosed: the pool is closed.
            OSError: the operating system's or the TLS library's error.
        """
        self._raise_if_closed()
        async with _time_limit(self._loop, connect_timeout, deadline, ConnectTimeout):
            if self._unix_socket is not None:
                _, connection = await self._loop.create_unix_connection(
                    lambda: self._create_connection(origin), self._unix_socket
                )
            else:
                connection = await self._connect(origin)
        if self._is_closed:
            connection.close()
        self._raise_if_closed()
        self._connections.add(connection)
        return connection

    async def aclose(self) -> None:
        """Close every connection. Requests in progress fail with ConnectionClosed or IncompleteResponse."""
        self._is_closed = True
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
        for connection in list(self._connections):
            connection.close()
        # Transports report the end of a connection in the next iteration of the event loop.
        await asyncio.sleep(0)

    async def _connect(self, origin: Origin) -> Connection:
        connected = await self._open_socket(origin)
        _, connection = await self._loop.create_connection(
            lambda: self._create_connection(origin),
            sock=connected,
            ssl=origin.tls() if origin.tls else None,
            server_hostname=origin.host if origin.tls else None,
        )
        return connection

    async def _open_socket(self, origin: Origin) -> socket.socket:
        try:
            return await aiohappyeyeballs.start_connection(
                await origin.addresses.find(),
                happy_eyeballs_delay=_CONNECTION_ATTEMPT_DELAY,
                interleave=1,
                loop=self._loop,
                socket_factory=_create_socket,
            )
        except (OSError, UnicodeError) as error:
            origin.addresses.doubt()
            error_class, arguments = type(error), error.args
        # A copy: the original is part of a reference cycle, which keeps the callers' frames and the body in memory.
        raise error_class(*arguments)

    def _create_connection(self, origin: Origin) -> Connection:
        def on_idle(connection: Connection) -> None:
            if self._is_closed:
                connection.close()
                return
            origin.idle[connection] = self._loop.time()
            if self._expiry_timer is None:
                self._expiry_timer = self._loop.call_later(self._keepalive, self._close_expired)

        def on_closing(connection: Connection) -> None:
            origin.idle.pop(connection, None)
            self._connections.discard(connection)

        return Connection(self._loop, on_idle, on_closing)

    def _raise_if_closed(self) -> None:
        if self._is_closed:
            raise ConnectionClosed

    def _close_expired(self) -> None:
        """Close connections that were idle for too long. Runs again while any connection is idle."""
        self._expiry_timer = None
        expired_since = self._loop.time() - self._keepalive
        for origin in self._origins.values():
            for connection in [idle for idle, since in origin.idle.items() if since <= expired_since]:
                connection.close()
        if any(origin.idle for origin in self._origins.values()):
            self._expiry_timer = self._loop.call_later(self._keepalive, self._close_expired)


@asynccontextmanager
async def _time_limit(
    loop: asyncio.AbstractEventLoop, seconds: float, deadline: float, timeout_error: type[TimeoutError]
) -> AsyncIterator[None]:
    """Raise `timeout_error` after `seconds`, or TimeoutError at the `deadline` if that comes first."""
    timeout_at = loop.time() + seconds
    try:
        async with asyncio.timeout_at(min(timeout_at, deadline)):
            yield
    except TimeoutError:
        raise (timeout_error() if timeout_at < deadline else TimeoutError()) from None


def _create_socket(address: aiohappyeyeballs.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    created = socket.socket(family, kind, protocol)
    created.setblocking(False)
    # Without Nagle's algorithm (TCP_NODELAY), which would delay the last packet of a request.
    created.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A response may take minutes: with SO_KEEPALIVE the kernel notices a server that has gone without closing.
    created.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return created
