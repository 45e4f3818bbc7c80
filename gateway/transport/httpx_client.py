"""The alternative client: httpx, chosen per provider, for example for SOCKS proxies."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from time import monotonic
from typing import Any

import httpx

from gateway.http1.response_reader import MAX_FRAMING_BYTES
from gateway.transport.base import ClientSettings, Response, Timeouts
from gateway.transport.decoding import decode, is_error, join_codings, too_large
from gateway.transport.duplex import DuplexBackend
from gateway.transport.error_map import ErrorMap, translate
from gateway.transport.network import MAX_URLS, host_of, system_reason
from gateway.transport.proxies import proxy_of
from gateway.transport.slots import Slots
from gateway.transport.tls import TlsFiles
from providers.errors import AnswerBroken, NotHttp, TargetError, TargetTimeout, Unreachable

_CLOSED = ("Server disconnected", "peer closed connection")
"""How h11 and httpcore say that a connection ended before an answer, or within one."""
_BROKEN = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
"""What httpx raises for a stale connection."""

_CHUNKS_AT_ONCE = 128
"""Read without letting the event loop run: each costs httpx some 30 microseconds, however small it is."""

_CHUNK_FRAME_BYTES = 6
"""The least that frames a chunk: a digit and two line breaks, with one more digit for all but the smallest."""

_ERROR_MAP: ErrorMap = (
    (httpx.ConnectTimeout, TargetTimeout, "no connection to {host} within {connect:g} s"),
    (httpx.TimeoutException, TargetTimeout, "nothing came from {host} for {read:g} s"),
    (TimeoutError, TargetTimeout, "no complete answer from {host} within {total:.3g} s"),
    (httpx.ProxyError, Unreachable, "the proxy on the way to {host} refused"),
    (httpx.ConnectError, Unreachable, "could not connect to {host}: {reason}"),
    (httpx.RemoteProtocolError, Unreachable, "{host} closed the connection before its answer was complete"),
    (httpx.NetworkError, Unreachable, "{host} closed the connection before its answer was complete"),
    (Exception, Unreachable, "no answer from {host}: {reason}"),
)


class HttpxClient:
    """Sends requests with httpx. Create and use it on one running event loop."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._slots = Slots(settings.max_connections)
        self._tls = TlsFiles(settings.ca_file, settings.client_cert, settings.client_key)
        self._proxy = lru_cache(maxsize=MAX_URLS)(partial(proxy_of, settings.proxy))
        self._sessions: dict[str | None, _Session] = {}

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> Response:
        """See Client."""
        left = await self._slots.acquire(url, timeouts)
        try:
            return await self._send_within(method, url, headers, body, left)
        finally:
            self._slots.release()

    async def aclose(self) -> None:
        """See Client."""
        for session in self._sessions.values():
            await session.aclose()

    async def _send_within(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> Response:
        progress, started = _Progress(), monotonic()
        try:
            async with asyncio.timeout(timeouts.total):
                answer = await self._send(method, url, headers, body, _client_timeout(timeouts), progress)
            return await decode(answer, self._settings.answer_limit(body), url)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, TargetError) as error:
            if progress.error_answer is not None:
                return progress.error_answer
            if isinstance(error, TargetError):
                raise
            ours = translate(error, _ERROR_MAP, url, timeouts, _reason(error), monotonic() - started)
            if isinstance(ours, Unreachable) and _is_not_http(error):
                ours = NotHttp(ours.message)
            elif isinstance(ours, Unreachable) and progress.response_started:
                ours = AnswerBroken(ours.message)
            raise ours from error

    async def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        limits: httpx.Timeout,
        progress: _Progress,
    ) -> Response:
        async with self._session(url) as session:
            request = session.pooled.build_request(
                method, url, headers=headers, content=body, timeout=limits, extensions={"trace": progress.on_event}
            )
            try:
                return await self._send_once(session.pooled, request, progress)
            except _BROKEN:
                if progress.connection_opened or progress.response_started:
                    raise
            # The pooled connection was stale (RFC 9112 section 9.3.1), and others may be: the second try opens a new
            # one.
            return await self._send_once(session.unpooled, request, progress)

    @asynccontextmanager
    async def _session(self, url: str) -> AsyncIterator[_Session]:
        """The session for a URL. One whose TLS files have changed is replaced, and closed after its last request."""
        proxy, context = self._proxy(url), self._tls.context()
        session = self._sessions.get(proxy)
        if session is None or session.context is not context:
            outdated, session = session, _Session(self._settings, proxy, context)
            self._sessions[proxy] = session
            if outdated is not None and not outdated.in_flight:
                await outdated.aclose()
        session.in_flight += 1
        try:
            yield session
        finally:
            session.in_flight -= 1
            if session is not self._sessions[proxy] and not session.in_flight:
                await session.aclose()

    async def _send_once(self, client: httpx.AsyncClient, request: httpx.Request, progress: _Progress) -> Response:
        response = await client.send(request, stream=True)
        try:
            headers = _headers(response)
            if is_error(response.status_code):
                progress.error_answer = Response(response.status_code, headers, b"")
            return Response(response.status_code, headers, await self._read_body(response))
        finally:
            await response.aclose()

    async def _read_body(self, response: httpx.Response) -> bytes:
        limit, url = self._settings.answer_limit(response.request.content), str(response.request.url)
        body, chunks = bytearray(), 0
        async for chunk in response.aiter_raw():
            body += chunk
            chunks += 1
            if len(body) > limit:
                raise too_large(limit, url, response.status_code)
            if chunks % _CHUNKS_AT_ONCE == 0:
                _check_chunks(response, chunks, len(body), url)
                await asyncio.sleep(0)
        return bytes(body)


class _Session:
    """httpx's clients for one proxy, or none, and one TLS context: httpx binds both to a client.

    Attributes:
        pooled: keeps connections.
        unpooled: opens a connection for each request.
        in_flight: requests that are using them now.
    """

    def __init__(self, settings: ClientSettings, proxy: str | None, context: ssl.SSLContext) -> None:
        self.context = context
        self.pooled = _open_client(settings, proxy, context, settings.max_connections)
        self.unpooled = _open_client(settings, proxy, context, 0)
        self.in_flight = 0

    async def aclose(self) -> None:
        """Close all connections."""
        await self.pooled.aclose()
        await self.unpooled.aclose()


class _Progress:
    """How far one request got, as reported by httpcore's trace extension."""

    connection_opened = False
    response_started = False
    error_answer: Response | None = None
    """What is known of an error answer while its body comes, and all that is if that breaks off."""

    async def on_event(self, name: str, _info: dict[str, Any]) -> None:
        if name.startswith("connection."):
            self.connection_opened = True
        elif name.endswith("receive_response_headers.complete"):
            self.response_started = True


def _check_chunks(response: httpx.Response, chunks: int, size: int, url: str) -> None:
    """Raises NotHttp for chunks whose frames outweigh what they hold, as the default client does."""
    if "transfer-encoding" in response.headers and chunks * _CHUNK_FRAME_BYTES > MAX_FRAMING_BYTES + size // 4:
        raise NotHttp(f"{host_of(url)} sent more chunk sizes than an answer can need")


def _headers(response: httpx.Response) -> dict[str, str]:
    """Of repeated headers the first counts, but all codings do."""
    headers: dict[str, str] = {}
    for name, value in response.headers.multi_items():
        headers.setdefault(name, value)
    return dict(join_codings(headers, response.headers.get_list("content-encoding")))


def _open_client(
    settings: ClientSettings, proxy: str | None, context: ssl.SSLContext, keepalive_connections: int
) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(
        verify=context,
        proxy=proxy,
        limits=httpx.Limits(
            max_connections=settings.max_connections,
            max_keepalive_connections=keepalive_connections,
            keepalive_expiry=settings.keepalive,
        ),
    )
    # httpx has no parameter for it, while httpcore has (AsyncConnectionPool's network_backend).
    transport._pool._network_backend = DuplexBackend()
    return httpx.AsyncClient(
        transport=transport,
        # We look at the environment ourselves: httpx reads NO_PROXY without ranges and ports.
        trust_env=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
    )


def _client_timeout(timeouts: Timeouts) -> httpx.Timeout:
    return httpx.Timeout(connect=timeouts.connect, read=timeouts.read, write=timeouts.read, pool=timeouts.pool)


def _is_not_http(error: Exception) -> bool:
    """Whether the server sent something that is not HTTP.

    httpcore raises the same class when the server closes the connection; only the text of the error differs.
    """
    return isinstance(error, httpx.RemoteProtocolError) and not str(error).startswith(_CLOSED)


def _reason(error: BaseException) -> str:
    """The system's or the TLS library's description, which httpx keeps at the end of the chain of causes."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return system_reason(error) or type(error).__name__
