"""The default client: straight to the server over HTTP/1.1. Decision: docs/decisions/0013-direct-client.md."""

from __future__ import annotations

import asyncio
import socket
import ssl
import zlib
from collections.abc import Mapping

import httpx
from msgspec import Struct

from gateway.http1.connection import ConnectionClosed, IncompleteResponse, ReadTimeout
from gateway.http1.head import encode_headers
from gateway.http1.pool import ConnectTimeout, Origin, Pool, PoolTimeout
from gateway.http1.response_reader import BodyTooLarge, ProtocolError, RawResponse
from gateway.transport.aiohttp_client import AiohttpClient
from gateway.transport.base import ClientSettings, Response, Timeouts
from gateway.transport.error_map import ErrorMap, translate
from gateway.transport.network import host_of, proxy_of, system_reason, tls_context
from providers.errors import AnswerBroken, BadAnswer, TargetTimeout, Unreachable

_ERROR_MAP: ErrorMap = (
    (PoolTimeout, TargetTimeout, "no free connection to {host} within {pool:g} s"),
    (ConnectTimeout, TargetTimeout, "no connection to {host} within {connect:g} s"),
    (ReadTimeout, TargetTimeout, "nothing came from {host} for {read:g} s"),
    (TimeoutError, TargetTimeout, "no complete answer from {host} within {total:.3g} s"),
    (socket.gaierror, Unreachable, "the name of {host} could not be resolved"),
    (ssl.SSLError, Unreachable, "TLS with {host} failed: {reason}"),
    (OSError, Unreachable, "could not connect to {host}: {reason}"),
    (ConnectionClosed, Unreachable, "{host} closed the connection without an answer"),
    (IncompleteResponse, AnswerBroken, "{host} broke off its answer"),
    (zlib.error, AnswerBroken, "{host} broke off its answer"),
    (ProtocolError, AnswerBroken, "{host} did not answer in HTTP"),
)

_GZIP = 16 + zlib.MAX_WBITS


class _Endpoint(Struct, frozen=True):
    """What a URL leads to: a server, the request's target there, and the server's name."""

    origin: Origin
    target: str
    host: str


class DirectClient:
    """Must be made and used on one running event loop. What has to go through a proxy is left to aiohttp."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._tls = tls_context(settings.ca_file, settings.client_cert, settings.client_key)
        self._pool = Pool(settings.max_connections, settings.keepalive, settings.max_answer_bytes, settings.unix_socket)
        self._ways: dict[str, _Endpoint | None] = {}
        self._proxied: AiohttpClient | None = None

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> Response:
        """See Client."""
        try:
            way = self._ways[url] if url in self._ways else self._find(url)
            if way is None:
                return await self._by_proxy(method, url, headers, body, timeouts)
            answer = await self._exchange(way.origin, _head(method, way, headers, body), body, timeouts)
            return Response(answer.status, answer.headers, self._plain(answer))
        except BodyTooLarge as error:
            limit = self._settings.max_answer_bytes
            raise BadAnswer(f"{host_of(url)} answered with more than {limit} bytes", status=error.args[0]) from None
        except (OSError, ConnectionClosed, IncompleteResponse, ProtocolError, zlib.error) as error:
            raise translate(error, _ERROR_MAP, url, timeouts, _reason(error)) from error
        except (ValueError, httpx.InvalidURL) as error:
            raise Unreachable("the provider's URL, or a header for it, cannot be sent") from error

    async def aclose(self) -> None:
        """See Client."""
        await self._pool.aclose()
        if self._proxied is not None:
            await self._proxied.aclose()

    async def _exchange(self, origin: Origin, head: bytes, body: bytes, timeouts: Timeouts) -> RawResponse:
        pool, end = self._pool, self._loop.time() + timeouts.total
        await pool.acquire(timeouts.pool, end)
        try:
            connection = pool.idle(origin)
            if connection is not None:
                try:
                    return await connection.exchange(head, body, end, timeouts.read)
                except ConnectionClosed:
                    # The server closed the idle connection while we wrote to it: RFC 9112 section 9.3.1. Its
                    # neighbours in the pool may be just as stale, so the second try opens its own.
                    pass
            connection = await pool.connect(origin, timeouts.connect, end)
            return await connection.exchange(head, body, end, timeouts.read)
        finally:
            pool.leave()

    def _plain(self, answer: RawResponse) -> bytes:
        """The body, decompressed. Raises BodyTooLarge, ProtocolError, zlib.error."""
        encoding = answer.headers.get("content-encoding")
        if not encoding or encoding.lower() == "identity" or not answer.body:
            return answer.body
        if encoding.lower() not in ("gzip", "x-gzip"):
            raise ProtocolError  # All that we ask for is gzip.
        decompressor = zlib.decompressobj(_GZIP)
        plain = decompressor.decompress(answer.body, self._settings.max_answer_bytes + 1)
        if len(plain) > self._settings.max_answer_bytes:
            raise BodyTooLarge(answer.status)
        if not decompressor.eof or decompressor.unused_data:
            raise zlib.error
        return plain

    def _find(self, url: str) -> _Endpoint | None:
        by_network = self._settings.unix_socket is None
        way = None if by_network and proxy_of(self._settings.proxy, url) else self._direct(url)
        self._ways[url] = way
        return way

    def _direct(self, url: str) -> _Endpoint:
        parsed = httpx.URL(url)
        tls = self._tls if parsed.scheme == "https" else None
        host = parsed.raw_host.decode("ascii")
        origin = self._pool.origin(host, parsed.port or (443 if tls else 80), tls)
        return _Endpoint(origin, parsed.raw_path.decode("ascii"), parsed.netloc.decode("ascii"))

    async def _by_proxy(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> Response:
        if self._proxied is None:
            self._proxied = AiohttpClient(self._settings)
        return await self._proxied.send(method, url, headers, body, timeouts)


def _head(method: str, way: _Endpoint, headers: Mapping[str, str], body: bytes) -> bytes:
    length = f"content-length: {len(body)}\r\n" if body or method == "POST" else ""
    host = "" if "host" in headers else f"host: {way.host}\r\n"
    return f"{method} {way.target} HTTP/1.1\r\n{host}{encode_headers(headers)}{length}\r\n".encode()


def _reason(error: Exception) -> str:
    """What the system or the TLS library said, where that is more than a class name."""
    return system_reason(error) or type(error).__name__
