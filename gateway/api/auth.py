"""The first step of every request: who calls."""

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
    """Whose request this is. Raises Unauthorized unless its key is known, where keys are asked for."""
    keys = service.keys
    return ANYONE if keys is None else keys.find(presented_key(headers))


def operators_only(service: Service) -> Callable[[Connection, BaseRouteHandler], None]:
    """For a route that only the operators' address serves, where there is one; elsewhere it does not exist."""

    def check(connection: Connection, handler: BaseRouteHandler) -> None:
        if not is_operators_address(service, connection.scope):
            raise NotFoundException

    return check


def scrapers_only(service: Service) -> Callable[[Connection, BaseRouteHandler], None]:
    """For what scrapers read: at the operators' own address without a key, elsewhere with one, where there are keys."""

    def check(connection: Connection, handler: BaseRouteHandler) -> None:
        if not is_operators_address(service, connection.scope):
            raise NotFoundException
        if service.config.server.admin is None:
            principal(service, connection.scope["headers"])

    return check


def is_operators_address(service: Service, scope: Scope) -> bool:
    """Whether the request came in where operators ask; everywhere, if the configuration knows no such address.

    What counts is the socket that took the connection, which no header can change.
    """
    admin = service.config.server.admin
    server = scope.get("server")
    return admin is None or (server is not None and server[1] == admin.port)


def guard(service: Service) -> Callable[[Connection, BaseRouteHandler], None]:
    """The same for an ordinary route, as a Litestar guard."""

    def check(connection: Connection, handler: BaseRouteHandler) -> None:
        principal(service, connection.scope["headers"])

    return check


_OTHERS = (b"x-api-key", b"api-key")


def presented_key(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key in these ASGI headers, None if there is none.

    `Authorization` wins: a bearer token, in whatever letter case the scheme is written, or the bare key, as some
    clients of text-embeddings-inference send it. Then `X-Api-Key`, then `Api-Key`. Any other scheme is no key of ours.
    """
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name == b"authorization":
            key = _token(value)
            if key is not None:
                return key
        elif name in _OTHERS:
            found.setdefault(name, value.strip())
    return next((found[name].decode("latin-1") for name in _OTHERS if found.get(name)), None)


def _token(value: bytes) -> str | None:
    words = value.split()
    if len(words) == 2 and words[0].lower() == b"bearer":
        return words[1].decode("latin-1")
    return words[0].decode("latin-1") if len(words) == 1 and words[0].lower() != b"bearer" else None
