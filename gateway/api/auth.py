"""Authentication: who calls, and what only operators may reach."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from litestar.connection import ASGIConnection
from litestar.exceptions import NotFoundException
from litestar.handlers.base import BaseRouteHandler
from litestar.types import Scope

from gateway.access.keys import ANYONE, Principal
from gateway.runtime.service import Service

Connection = ASGIConnection[Any, Any, Any, Any]


def principal(service: Service, headers: Iterable[tuple[bytes, bytes]]) -> Principal:
    """Whose request this is: ANYONE if the gateway has no keys. Raises Unauthorized for a missing or unknown key."""
    keys = service.keys
    return ANYONE if keys is None else keys.find(presented_key(headers))


def operators_only(service: Service) -> Callable[[Connection, BaseRouteHandler], None]:
    """A Litestar guard: 404 unless the request came in at the operators' address, if one is configured."""

    def check(connection: Connection, handler: BaseRouteHandler) -> None:
        if not is_operators_address(service, connection.scope):
            raise NotFoundException

    return check


def scrapers_only(service: Service) -> Callable[[Connection, BaseRouteHandler], None]:
    """A Litestar guard for /metrics: like `operators_only`, but without an operators' address a key is required."""

    def check(connection: Connection, handler: BaseRouteHandler) -> None:
        if not is_operators_address(service, connection.scope):
            raise NotFoundException
        if service.config.server.admin is None:
            principal(service, connection.scope["headers"])

    return check


def is_operators_address(service: Service, scope: Scope) -> bool:
    """Whether the request came in at the operators' address; True if none is configured.

    The port is that of the socket that accepted the connection, which no header can change.
    """
    admin = service.config.server.admin
    server = scope.get("server")
    return admin is None or (server is not None and server[1] == admin.port)


def guard(service: Service) -> Callable[[Connection, BaseRouteHandler], None]:
    """A Litestar guard: 401 unless the request has a known key, or the gateway has no keys."""

    def check(connection: Connection, handler: BaseRouteHandler) -> None:
        principal(service, connection.scope["headers"])

    return check


_KEY_HEADERS = (b"x-api-key", b"api-key")
"""Where a key may be besides `Authorization`, in order of precedence."""


def presented_key(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key in these ASGI headers; None if there is none.

    `Authorization` comes first: a bearer token, with the scheme in any letter case, or the bare key, which some clients
    of text-embeddings-inference send. Then `X-Api-Key`, then `Api-Key`. Any other scheme is ignored.
    """
    keys: dict[bytes, bytes] = {}
    for name, value in headers:
        if name == b"authorization":
            key = _token(value)
            if key is not None:
                return key
        elif name in _KEY_HEADERS:
            keys.setdefault(name, value.strip())
    return next((keys[name].decode("latin-1") for name in _KEY_HEADERS if keys.get(name)), None)


def _token(value: bytes) -> str | None:
    words = value.split()
    if len(words) == 2 and words[0].lower() == b"bearer":
        return words[1].decode("latin-1")
    return words[0].decode("latin-1") if len(words) == 1 and words[0].lower() != b"bearer" else None
