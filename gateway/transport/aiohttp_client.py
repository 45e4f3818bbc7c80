"""The client for what goes through a proxy: aiohttp. Decisions: docs/decisions/0006 and 0013."""

from __future__ import annotations

import math
import socket
from collections.abc import Mapping
from contextvars import ContextVar
from io import BytesIO
from time import monotonic

import aiohttp
from msgspec.structs import replace

from gateway.transport.base import ClientSettings, Response, Timeouts
from gateway.transport.error_map import ErrorMap, translate
from gateway.transport.network import host_of, proxy_of, system_reason, tls_context
from providers.errors import AnswerBroken, BadAnswer, TargetTimeout, Unreachable

_BROKEN = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
"""What a stale connection looks like. ClientConnectorError, a subclass, is one that never stood."""

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
    (aiohttp.ClientResponseError, AnswerBroken, "{host} did not answer in HTTP"),
    (Exception, Unreachable, "no answer from {host}: {reason}"),
)

_ONE_PIECE = 2**20
"""Longer bodies go out in pieces, so that the event loop serves others in between; aiohttp warns otherwise."""

_opened: ContextVar[list[None] | None] = ContextVar("opened", default=None)
"""Grows by one for every socket opened on behalf of the current request."""


class AiohttpClient:
    """Must be made and used on one running event loop."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._tls = tls_context(settings.ca_file, settings.client_cert, settings.client_key)
        self._pooled = self._session(force_close=False)
        self._fresh: aiohttp.ClientSession | None = None
        self._proxies: dict[str, str | None] = {}

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> Response:
        """See Client."""
        opened: list[None] = []
        _opened.set(opened)
        started = monotonic()
        try:
            try:
                return await self._once(self._pooled, method, url, headers, body, timeouts)
            except _BROKEN as error:
                if opened or isinstance(error, aiohttp.ClientConnectorError) or _has_begun(error):
                    raise
            # The server closed the pooled connection while we wrote to it: RFC 9112 section 9.3.1. Its neighbours in
            # the pool may be just as stale, so the second try opens its own.
            left = replace(timeouts, total=max(timeouts.total - (monotonic() - started), 0.001))
            return await self._once(self._unpooled(), method, url, headers, body, left)
        except (aiohttp.ClientError, OSError) as error:
            if _has_begun(error):
                error = aiohttp.ClientPayloadError()
            # asyncio.TimeoutError is an OSError since Python 3.11.
            raise translate(error, _ERROR_MAP, url, timeouts, _reason(error)) from error

    async def aclose(self) -> None:
        """See Client."""
        await self._pooled.close()
        if self._fresh is not None:
            await self._fresh.close()

    async def _once(
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
            data=body if len(body) <= _ONE_PIECE else BytesIO(body),
            timeout=_limits(timeouts),
            allow_redirects=False,
            proxy=self._proxy(url),
        ) as answer:
            try:
                return Response(answer.status, answer.headers, await self._body(answer, url))
            except _BROKEN as error:
                raise aiohttp.ClientPayloadError from error

    async def _body(self, answer: aiohttp.ClientResponse, url: str) -> bytes:
        limit = self._settings.max_answer_bytes
        length = answer.content_length
        if length is not None and length <= limit and "Content-Encoding" not in answer.headers:
            return await answer.read()
        body = bytearray()
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > limit:
                answer.close()
                raise BadAnswer(f"{host_of(url)} answered with more than {limit} bytes", status=answer.status)
        return bytes(body)

    def _unpooled(self) -> aiohttp.ClientSession:
        if self._fresh is None:
            self._fresh = self._session(force_close=True)
        return self._fresh

    def _session(self, *, force_close: bool) -> aiohttp.ClientSession:
        # trust_env would look for .netrc and the proxy in a thread, at each request; we look once per URL.
        return aiohttp.ClientSession(
            connector=self._connector(force_close), cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        )

    def _connector(self, force_close: bool) -> aiohttp.BaseConnector:
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
            ssl=self._tls,
            limit=settings.max_connections,
            force_close=force_close,
            keepalive_timeout=keepalive,
            ttl_dns_cache=30,
            socket_factory=_open_socket,
        )

    def _proxy(self, url: str) -> str | None:
        try:
            return self._proxies[url]
        except KeyError:
            found = proxy_of(self._settings.proxy, url)
            if found is not None and not found.startswith(("http://", "https://")):
                raise Unreachable(
                    f"the proxy on the way to {host_of(url)} does not speak HTTP; "
                    "configure `client: httpx` for this provider"
                ) from None
            self._proxies[url] = found
            return found


def _open_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    opened = _opened.get()
    if opened is not None:
        opened.append(None)
    family, kind, protocol, _, _ = address
    return socket.socket(family, kind, protocol)


def _limits(timeouts: Timeouts) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=timeouts.total,
        connect=timeouts.pool + timeouts.connect,
        sock_connect=timeouts.connect,
        # Each piece of an answer starts this timer anew, so it is left out where it can never be the first to ring.
        sock_read=timeouts.read if timeouts.read < timeouts.total else None,
        # aiohttp would round longer timeouts up to whole seconds; a deadline is kept as it is.
        ceil_threshold=math.inf,
    )


def _has_begun(error: Exception) -> bool:
    """Whether some of an answer's head had come before the connection closed."""
    return isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)


def _reason(error: Exception) -> str:
    """What the system or the TLS library said, where that is more than a class name."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"status {error.status}"
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
    return system_reason(cause) or type(error).__name__
