"""The default client: our own HTTP/1.1, without a proxy. Decision: docs/decisions/0013-direct-client.md."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from functools import lru_cache

import httpx
from msgspec import Struct

from gateway.http1.connection import ConnectionClosed, IncompleteResponse, ReadTimeout
from gateway.http1.head import encode_headers
from gateway.http1.pool import ConnectTimeout, Origin, Pool, PoolTimeout
from gateway.http1.response_reader import BodyTooLarge, FramingTooLarge, ProtocolError, RawResponse
from gateway.transport.aiohttp_client import AiohttpClient
from gateway.transport.base import ClientSettings, Response, Timeouts
from gateway.transport.decoding import decode, too_large
from gateway.transport.error_map import POOL_FULL, ErrorMap, translate
from gateway.transport.network import MAX_URLS, system_reason
from gateway.transport.proxies import proxy_of
from gateway.transport.tls import TlsFiles
from providers.errors import AnswerBroken, NotHttp, Overloaded, TargetTimeout, Unreachable

_ERROR_MAP: ErrorMap = (
    (PoolTimeout, Overloaded, POOL_FULL),
    (ConnectTimeout, TargetTimeout, "no connection to {host} within {connect:g} s"),
    (ReadTimeout, TargetTimeout, "nothing came from {host} for {read:g} s"),
    (TimeoutError, TargetTimeout, "no complete answer from {host} within {total:.3g} s"),
    (socket.gaierror, Unreachable, "the name of {host} could not be resolved"),
    (ssl.SSLError, Unreachable, "TLS with {host} failed: {reason}"),
    (OSError, Unreachable, "could not connect to {host}: {reason}"),
    (ConnectionClosed, Unreachable, "{host} closed the connection without an answer"),
    (IncompleteResponse, AnswerBroken, "{host} broke off its answer"),
    (FramingTooLarge, NotHttp, "{host} sent more headers, chunk sizes or trailers than an answer can need"),
    (ProtocolError, NotHttp, "{host} did not answer in HTTP"),
)


class _Endpoint(Struct, frozen=True):
    """A parsed URL: the server, the request target (RFC 9112 section 3.2) and the value of the Host header."""

    origin: Origin
    target: str
    host: str


class DirectClient:
    """Create and use it on one running event loop. Requests that need a proxy are handed to aiohttp."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._tls = TlsFiles(settings.ca_file, settings.client_cert, settings.client_key)
        self._pool = Pool(settings.max_connections, settings.keepalive, settings.unix_socket)
        # So that a request does not parse its URL.
        self._endpoint_of = lru_cache(maxsize=MAX_URLS)(self._resolve)
        self._proxied: AiohttpClient | None = None

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> Response:
        """See Client."""
        asked_at = self._loop.time()
        try:
            endpoint = self._endpoint_of(url)
            if endpoint is None:
                return await self._send_by_proxy(method, url, headers, body, timeouts)
            head = _encode_head(method, endpoint, headers, body)
            deadline = asked_at + timeouts.total
            if await self._pool.acquire(timeouts.pool, deadline):
                asked_at = self._loop.time()  # Until now it was not the provider that we waited for.
            raw = await self._exchange(endpoint.origin, head, body, timeouts, deadline)
            response = Response(raw.status, raw.headers, raw.body)
            return await decode(response, self._settings.answer_limit(body), url)
        except BodyTooLarge as error:
            raise too_large(self._settings.answer_limit(body), url, error.args[0]) from None
        except (OSError, ConnectionClosed, IncompleteResponse, ProtocolError) as error:
            waited = self._loop.time() - asked_at
            raise translate(error, _ERROR_MAP, url, timeouts, _reason(error), waited) from error
        except (ValueError, httpx.InvalidURL) as error:
            raise Unreachable("the provider's URL, or a header for it, cannot be sent") from error

    async def aclose(self) -> None:
        """See Client."""
        await self._pool.aclose()
        if self._proxied is not None:
            await self._proxied.aclose()

    async def _exchange(
        self, origin: Origin, head: bytes, body: bytes, timeouts: Timeouts, deadline: float
    ) -> RawResponse:
        """The response, over an idle or a new connection. The caller has acquired the pool, and this releases it."""
        pool, limit = self._pool, self._settings.answer_limit(body)
        try:
            connection = pool.pop_idle(origin)
            if connection is not None:
                try:
                    return await connection.exchange(head, body, deadline, timeouts.read, limit)
                except ConnectionClosed:
                    # The server closed the idle connection while we wrote to it (RFC 9112 section 9.3.1). Other idle
                    # connections may be stale as well, so the second try opens a new one.
                    pass
            connection = await pool.connect(origin, timeouts.connect, deadline)
            return await connection.exchange(head, body, deadline, timeouts.read, limit)
        finally:
            pool.release()

    def _resolve(self, url: str) -> _Endpoint | None:
        """The endpoint of a URL, or None if a proxy leads to it."""
        by_network = self._settings.unix_socket is None
        return None if by_network and proxy_of(self._settings.proxy, url) else self._parse(url)

    def _parse(self, url: str) -> _Endpoint:
        parsed = httpx.URL(url)
        tls = self._tls.context if parsed.scheme == "https" else None
        host = parsed.raw_host.decode("ascii")
        origin = self._pool.origin(host, parsed.port or (443 if tls else 80), tls)
        return _Endpoint(origin, parsed.raw_path.decode("ascii"), parsed.netloc.decode("ascii"))

    async def _send_by_proxy(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> Response:
        if self._proxied is None:
            self._proxied = AiohttpClient(self._settings)
        return await self._proxied.send(method, url, headers, body, timeouts)


def _encode_head(method: str, endpoint: _Endpoint, headers: Mapping[str, str], body: bytes) -> bytes:
    # A POST without a body says so (RFC 9110 section 8.6).
    length = f"content-length: {len(body)}\r\n" if body or method == "POST" else ""
    host = "" if "host" in headers else f"host: {endpoint.host}\r\n"
    return f"{method} {endpoint.target} HTTP/1.1\r\n{host}{encode_headers(headers)}{length}\r\n".encode()


def _reason(error: Exception) -> str:
    """The system's or the TLS library's description of the error, else the name of its class."""
    return system_reason(error) or type(error).__name__
