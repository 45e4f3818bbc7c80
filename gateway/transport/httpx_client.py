"""The second client: httpx, chosen per provider, and the one that respx and MockTransport stand in for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from gateway.transport.base import ClientSettings, Response, Timeouts
from gateway.transport.error_map import ErrorMap, translate
from gateway.transport.network import host_of, system_reason, tls_context
from providers.errors import AnswerBroken, BadAnswer, TargetTimeout, Unreachable

_BROKEN = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
"""What a stale connection looks like."""

_ERROR_MAP: ErrorMap = (
    (httpx.ConnectTimeout, TargetTimeout, "no connection to {host} within {connect:g} s"),
    (httpx.PoolTimeout, TargetTimeout, "no free connection to {host} within {pool:g} s"),
    (httpx.TimeoutException, TargetTimeout, "nothing came from {host} for {read:g} s"),
    (TimeoutError, TargetTimeout, "no complete answer from {host} within {total:.3g} s"),
    (httpx.ProxyError, Unreachable, "the proxy on the way to {host} refused"),
    (httpx.ConnectError, Unreachable, "could not connect to {host}: {reason}"),
    (httpx.DecodingError, Unreachable, "{host} broke off its answer"),
    (httpx.RemoteProtocolError, Unreachable, "{host} closed the connection before its answer was complete"),
    (httpx.NetworkError, Unreachable, "{host} closed the connection before its answer was complete"),
    (Exception, Unreachable, "no answer from {host}: {reason}"),
)


class HttpxClient:
    """`transport` replaces the network, in tests."""

    def __init__(self, settings: ClientSettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._settings = settings
        self._pooled = self._client(settings.max_connections, transport)
        self._fresh = self._client(0, transport)

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> Response:
        """See Client."""
        seen = _Seen()
        try:
            async with asyncio.timeout(timeouts.total):
                return await self._send(method, url, headers, body, _limits(timeouts), seen)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            ours = translate(error, _ERROR_MAP, url, timeouts, _reason(error))
            if isinstance(ours, Unreachable) and (seen.answered or _is_no_http(error)):
                ours = AnswerBroken(ours.message)
            raise ours from error

    async def aclose(self) -> None:
        """See Client."""
        await self._pooled.aclose()
        await self._fresh.aclose()

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, limits: httpx.Timeout, seen: _Seen
    ) -> Response:
        request = self._pooled.build_request(
            method, url, headers=headers, content=body, timeout=limits, extensions={"trace": seen.event}
        )
        try:
            return await self._once(self._pooled, request)
        except _BROKEN:
            if seen.connected or seen.answered:
                raise
        # The pooled connection was stale, and its neighbours may be: the second try opens its own.
        return await self._once(self._fresh, request)

    async def _once(self, client: httpx.AsyncClient, request: httpx.Request) -> Response:
        answer = await client.send(request, stream=True)
        try:
            return Response(answer.status_code, dict(answer.headers), await self._body(answer))
        finally:
            await answer.aclose()

    async def _body(self, answer: httpx.Response) -> bytes:
        limit = self._settings.max_answer_bytes
        body = bytearray()
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > limit:
                host = host_of(str(answer.request.url))
                raise BadAnswer(f"{host} answered with more than {limit} bytes", status=answer.status_code)
        return bytes(body)

    def _client(self, keepalive_connections: int, transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
        settings = self._settings
        return httpx.AsyncClient(
            transport=transport,
            verify=tls_context(settings.ca_file, settings.client_cert, settings.client_key),
            proxy=None if settings.proxy in ("environment", "none") else settings.proxy,
            trust_env=settings.proxy == "environment",
            limits=httpx.Limits(
                max_connections=settings.max_connections,
                max_keepalive_connections=keepalive_connections,
                keepalive_expiry=settings.keepalive,
            ),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
        )


class _Seen:
    """How far one request came, told by httpcore's trace extension."""

    connected = False
    answered = False

    async def event(self, name: str, _info: dict[str, Any]) -> None:
        if name.startswith("connection."):
            self.connected = True
        elif name.endswith("receive_response_headers.complete"):
            self.answered = True


def _limits(timeouts: Timeouts) -> httpx.Timeout:
    return httpx.Timeout(connect=timeouts.connect, read=timeouts.read, write=timeouts.read, pool=timeouts.pool)


def _is_no_http(error: Exception) -> bool:
    """Whether something came that is no answer's head. httpcore has one sentence for a connection that said nothing."""
    return isinstance(error, httpx.RemoteProtocolError) and not str(error).startswith("Server disconnected")


def _reason(error: BaseException) -> str:
    """What the system or the TLS library said: httpx keeps it at the end of the chain of causes."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return system_reason(error) or type(error).__name__
