"""Refuse requests whose Host header is not one of `server.allowed_hosts`: protection against DNS rebinding."""

from __future__ import annotations

from collections.abc import Iterable

from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.api.dialects.unified.error_body import error_body
from gateway.api.http import respond
from gateway.api.request_id import request_id
from providers.types import Call

PROBE_PATHS = frozenset({"/livez", "/readyz", "/startupz", "/health"})
"""Served under any Host, since probes use the IP address."""


class TrustedHostMiddleware:
    """Answers 421 unless the Host header is allowed.

    Args:
        app: the application behind it.
        allowed: host names in lower case; `*.` at the beginning stands for one or more labels.
    """

    def __init__(self, app: ASGIApp, allowed: Iterable[str]) -> None:
        self._app = app
        self._exact = frozenset(allowed)
        self._suffixes = tuple(name[1:] for name in self._exact if name.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in PROBE_PATHS or self._is_allowed(scope["headers"]):
            return await self._app(scope, receive, send)
        call = Call(id=request_id(scope["headers"]))
        body = error_body("this Host is not one that the gateway serves (server.allowed_hosts)", "unknown_host", call)
        return await respond(scope, send, 421, body, {"x-request-id": call.id})

    def _is_allowed(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1:
            return False
        name = _without_port(hosts[0].decode("latin-1").lower())
        return name in self._exact or name.endswith(self._suffixes)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host
