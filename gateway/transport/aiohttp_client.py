"""The client for requests through a proxy: aiohttp. Decisions: docs/decisions/0006 and 0013."""

from __future__ import annotations

import math
import socket
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from io import BytesIO
from time import monotonic

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec.structs import replace

from gateway.http1.addresses import AddressCache
from gateway.transport.base import ClientSettings, Response, Timeouts
from gateway.transport.decoding import decode, is_error, join_codings, too_large, without_body
from gateway.transport.error_map import ErrorMap, translate
from gateway.transport.network import MAX_URLS, host_of, system_reason
from gateway.transport.proxies import proxy_of
from gateway.transport.slots import Slots
from gateway.transport.tls import TlsFiles
from providers.errors import AnswerBroken, AnswerTooLarge, NotHttp, TargetTimeout, Unreachable

_BROKEN = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
"""What aiohttp raises for a stale connection. ClientConnectorError, a subclass, means that none was established."""

_ERROR_MAP: ErrorMap = (
    (aiohttp.ConnectionTimeoutError, TargetTimeout, "no connection to {host} within {connect:g} s"),
    (aiohttp.SocketTimeoutError, TargetTimeout, "nothing came from {host} for {read:g} s"),
    (TimeoutError, TargetTimeout, "no complete answer from {host} within {total:.3g} s"),
    (aiohttp.ClientConnectorDNSError, Unreachable, "the name of {host} could not be resolved"),
    (aiohttp.ClientSSLError, Unreachable, "TLS with {host} failed: {reason}"),
    (aiohttp.ClientProxyConnectionError, Unreachable, "the proxy on the way to {host} could not be reached"),
    (aiohttp.ClientHttpProxyError, Unreachable, "the proxy on the way to {host} refused: {reason}"),
    (aiohttp.ClientConnectorError, Unreachable, "could not connect to {host}: {reason}"),
    (aiohttp.ServerDisconnectedError, Unreachable, "{host} closed the connection without an answer"),
    (aiohttp.ClientOSError, Unreachable, "{host} closed the connection without an answer"),
    (aiohttp.ClientPayloadError, AnswerBroken, "{host} broke off its answer"),
    (aiohttp.ClientResponseError, NotHttp, "{host} did not answer in HTTP"),
    (Exception, Unreachable, "no answer from {host}: {reason}"),
)

_MAX_SINGLE_WRITE_BYTES = 2**20
"""A longer body is written in chunks, so that the event loop can serve other requests; aiohttp warns otherwise."""

_new_sockets: ContextVar[list[None] | None] = ContextVar("new_sockets", default=None)
"""Gets one item for each socket that is opened for the current request: only without any was the connection reused."""


class AiohttpClient:
    """Create and use it on one running event loop."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._tls = TlsFiles(settings.ca_file, settings.client_cert, settings.client_key)
        self._pooled = self._open_session(force_close=False)
        self._unpooled_session: aiohttp.ClientSession | None = None
        self._slots = Slots(settings.max_connections)
        self._proxy = lru_cache(maxsize=MAX_URLS)(self._find_proxy)

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> Response:
        """See Client."""
        left = await self._slots.acquire(url, timeouts)
        try:
            return await self._send(method, url, headers, body, left)
        finally:
            self._slots.release()

    async def aclose(self) -> None:
        """See Client."""
        await self._pooled.close()
        if self._unpooled_session is not None:
            await self._unpooled_session.close()

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> Response:
        new_sockets: list[None] = []
        _new_sockets.set(new_sockets)
        started = monotonic()
        try:
            try:
                return await self._send_once(self._pooled, method, url, headers, body, timeouts)
            except _BROKEN as error:
                if new_sockets or isinstance(error, aiohttp.ClientConnectorError) or _has_begun(error):
                    raise
            # The server closed the pooled connection while we wrote to it (RFC 9112 section 9.3.1). Other pooled
            # connections may be stale as well, so the second try opens a new one.
            left = replace(timeouts, total=max(timeouts.total - (monotonic() - started), 0.001))
            return await self._send_once(self._unpooled(), method, url, headers, body, left)
        except (aiohttp.ClientError, OSError) as error:
            if _has_begun(error):
                error = aiohttp.ClientPayloadError()
            # asyncio.TimeoutError is an OSError since Python 3.11.
            raise translate(error, _ERROR_MAP, url, timeouts, _reason(error), monotonic() - started) from error

    async def _send_once(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        timeouts: Timeouts,
    ) -> Response:
        async with session.request(
            method,
            url,
            headers=headers,
            data=body if len(body) <= _MAX_SINGLE_WRITE_BYTES else BytesIO(body),
            timeout=_client_timeout(timeouts),
            allow_redirects=False,
            proxy=self._proxy(url),
            # aiohttp keeps connections by context, so that new files mean new connections.
            ssl=self._tls.context(),
        ) as response:
            limit = self._settings.answer_limit(body)
            headers = join_codings(response.headers, response.headers.getall("content-encoding", []))
            try:
                answer = Response(response.status, headers, await self._read_body(response, url, limit))
            except (aiohttp.ClientError, OSError, AnswerTooLarge) as error:
                if is_error(response.status):
                    response.close()
                    return without_body(Response(response.status, headers, b""))
                if isinstance(error, _BROKEN):
                    raise aiohttp.ClientPayloadError from error
                raise
        return await decode(answer, limit, url)

    async def _read_body(self, response: aiohttp.ClientResponse, url: str, limit: int) -> bytes:
        length = response.content_length
        if length is not None and length <= limit:
            return await response.read()
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > limit:
                response.close()
                raise too_large(limit, url, response.status)
        return bytes(body)

    def _unpooled(self) -> aiohttp.ClientSession:
        if self._unpooled_session is None:
            self._unpooled_session = self._open_session(force_close=True)
        return self._unpooled_session

    def _open_session(self, *, force_close: bool) -> aiohttp.ClientSession:
        # With trust_env aiohttp would look for .netrc and a proxy in a thread, for each request. We look once per URL.
        return aiohttp.ClientSession(
            connector=self._open_connector(force_close),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
        )

    def _open_connector(self, force_close: bool) -> aiohttp.BaseConnector:
        settings = self._settings
        keepalive = None if force_close else settings.keepalive
        if settings.unix_socket is not None:
            return aiohttp.UnixConnector(
                settings.unix_socket,
                limit=settings.max_connections,
                force_close=force_close,
                keepalive_timeout=keepalive,
            )
        return aiohttp.TCPConnector(
            limit=settings.max_connections,
            force_close=force_close,
            keepalive_timeout=keepalive,
            use_dns_cache=False,
            resolver=_Resolver(),
            socket_factory=_open_socket,
        )

    def _find_proxy(self, url: str) -> str | None:
        proxy = proxy_of(self._settings.proxy, url)
        if proxy is not None and not proxy.startswith(("http://", "https://")):
            raise Unreachable(
                f"the proxy on the way to {host_of(url)} does not speak HTTP; "
                "configure `client: httpx` for this provider"
            )
        return proxy


class _Resolver(AbstractResolver):
    """Looks names up as the default client does, so that old addresses serve while the resolver is down."""

    def __init__(self) -> None:
        self._addresses: dict[tuple[str, int], AddressCache] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """See AbstractResolver. The hosts are those of the provider and of its proxies, so they are few."""
        addresses = self._addresses.setdefault((host, port), AddressCache(host, port))
        return [
            ResolveResult(
                hostname=host,
                host=_with_zone(*address),
                port=port,
                family=found_family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for found_family, _, protocol, _, address in await addresses.find()
        ]

    async def close(self) -> None:
        """Nothing is open."""


def _with_zone(host: str, _port: int, _flow: int = 0, zone: int = 0) -> str:
    """The text of an address, for a link-local one with its zone (RFC 4007)."""
    return f"{host}%{zone}" if zone else host


def _open_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    new_sockets = _new_sockets.get()
    if new_sockets is not None:
        new_sockets.append(None)
    family, kind, protocol, _, _ = address
    return socket.socket(family, kind, protocol)


def _client_timeout(timeouts: Timeouts) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=timeouts.total,
        connect=timeouts.pool + timeouts.connect,
        sock_connect=timeouts.connect,
        # aiohttp restarts this timer for each chunk of a response. Where the total always comes first, do without it.
        sock_read=timeouts.read if timeouts.read < timeouts.total else None,
        # By default aiohttp rounds timeouts over 5 s up to whole seconds, which would miss a deadline.
        ceil_threshold=math.inf,
    )


def _has_begun(error: Exception) -> bool:
    """Whether part of a response's head had arrived when the connection closed: only then `message` holds it."""
    return isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)


def _reason(error: Exception) -> str:
    """The system's or the TLS library's description of the error, else the name of its class."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"status {error.status}"
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
    return system_reason(cause) or type(error).__name__
