"""The interface of HTTP clients: (method, URL, headers, body, timeouts) → (status, headers, body)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from msgspec import Struct


class Timeouts(Struct, frozen=True):
    """How long one call may take, in seconds. The first three mean what they mean in httpx.

    Attributes:
        connect: establishing a new connection, TLS handshake included.
        read: waiting for the next data of the response.
        pool: waiting for one of `max_connections` to become free.
        total: the whole call.
    """

    connect: float = 5.0
    read: float = 60.0
    pool: float = 5.0
    total: float = 60.0


class Response(Struct, frozen=True):
    """A response. `headers` can be looked up by lower-case names; `body` is complete and decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Client(Protocol):
    """Sends a request and returns the complete response, whatever its status. Follows no redirects, keeps no cookies.

    A server may close an idle connection just as a request is sent on it. Such a request is sent again, once, on a new
    connection, provided that no byte of a response had arrived (RFC 9112 section 9.3.1).
    """

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> Response:
        """Send a request. Error messages name only the host of the URL.

        Args:
            method: in upper case.
            url: absolute.
            headers: names in lower case; `host` and `content-length` are added.
            body: may be empty.
            timeouts: for this call.

        Raises:
            Unreachable: there was no connection, or it closed before a response.
            TargetTimeout: one of the timeouts passed.
            AnswerBroken: the response is incomplete.
            NotHttp: it is not HTTP.
            AnswerTooLarge: the response body is over `ClientSettings.answer_limit`.
            BadAnswer: it is in a content coding that we do not read.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


class ClientSettings(Struct, frozen=True, kw_only=True):
    """How to connect to one provider.

    Attributes:
        client: `default` is our own, which hands requests that need a proxy to `aiohttp`; `httpx` is far slower under
            load and exists for what only it can do (SOCKS proxies).
        proxy: `environment` (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY), `none`, or the proxy's URL.
        ca_file: PEM file of certificate authorities to trust in addition to the system's.
        client_cert: PEM file of our certificate chain, for servers that require mutual TLS.
        client_key: PEM file of its key; None if `client_cert` contains the key.
        max_connections: connections in use at once; further calls wait for up to `Timeouts.pool`.
        keepalive: seconds for which an idle connection is kept.
        max_answer_bytes: largest acceptable response body, after decompression, beside what `answer_limit` adds.
        unix_socket: path of a Unix socket that every URL is reached through, instead of the network; not with httpx.
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

    def answer_limit(self, body: bytes) -> int:
        """Bytes that the answer to a request with this body may have: so many more, since it may echo the request."""
        return self.max_answer_bytes + len(body)
