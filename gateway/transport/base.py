"""The seam to the network: (method, URL, headers, body, timeouts) → (status, headers, body)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from msgspec import Struct


class Timeouts(Struct, frozen=True):
    """How long one call may take, in seconds.

    Attributes:
        connect: TCP and TLS handshakes of a new connection.
        read: silence between two pieces of an answer, and before its first one.
        pool: waiting for one of `max_connections` to become free.
        total: all of it together.
    """

    connect: float = 5.0
    read: float = 60.0
    pool: float = 5.0
    total: float = 60.0


class Response(Struct, frozen=True):
    """What came back. `headers` are found by their lower-case names; `body` is decompressed and complete."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Client(Protocol):
    """Sends a request and gives the whole answer, whatever its status. Follows no redirect and keeps no cookie.

    A pooled connection that the server has closed meanwhile is never an error: the request is sent again, once, on a
    fresh connection, if no byte of an answer had come.
    """

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> Response:
        """Raises Unreachable, TargetTimeout, or BadAnswer for a body over the limit. Messages name the host only."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


class ClientSettings(Struct, frozen=True, kw_only=True):
    """How the gateway reaches one provider.

    Attributes:
        client: which one; `aiohttp` is what the default leaves proxies to, `httpx` is far slower under load, for
            set-ups that only it can serve (SOCKS proxies).
        proxy: `environment` (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY), `none`, or the proxy's URL.
        ca_file: PEM file of authorities to trust besides the system's.
        client_cert: PEM file of our certificate chain, for servers that demand one.
        client_key: PEM file of its key; None if `client_cert` holds it too.
        max_connections: open connections to this provider; more calls wait for `Timeouts.pool`.
        keepalive: seconds an idle connection is kept.
        max_answer_bytes: longest acceptable answer body, after decompression.
        unix_socket: path of the socket that every URL leads to, in place of a network; not with httpx.
    """

    client: Literal["default", "aiohttp", "httpx"] = "default"
    proxy: str = "environment"
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    max_connections: int = 1000
    keepalive: float = 60.0
    max_answer_bytes: int = 32 * 1024 * 1024
    unix_socket: str | None = None
