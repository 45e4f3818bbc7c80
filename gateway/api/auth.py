"""The first step of every request: who calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from gateway.access.keys import ANYONE, Principal
from gateway.api.credentials import presented_key
from gateway.service import Service

Connection = ASGIConnection[Any, Any, Any, Any]


def principal(service: Service, headers: Iterable[tuple[bytes, bytes]]) -> Principal:
    """Whose request this is. Raises Unauthorized unless its key is known, where keys are asked for."""
    keys = service.keys
    return ANYONE if keys is None else keys.find(presented_key(headers))


def guard(service: Service) -> Callable[[Connection, BaseRouteHandler], None]:
    """The same for an ordinary route, as a Litestar guard."""

    def check(connection: Connection, handler: BaseRouteHandler) -> None:
        principal(service, connection.scope["headers"])

    return check
