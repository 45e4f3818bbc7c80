"""Everything between the gateway and an HTTP provider. Only this package knows a client library."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.transport.aiohttp_client import AiohttpClient
from gateway.transport.base import Client, ClientSettings, Response, Timeouts
from gateway.transport.direct import DirectClient
from gateway.transport.httpx_client import HttpxClient

__all__ = [
    "AiohttpClient",
    "Client",
    "ClientSettings",
    "DirectClient",
    "HttpxClient",
    "Response",
    "Timeouts",
    "open_client",
]


_CLIENTS: Mapping[str, Callable[[ClientSettings], Client]] = {
    "default": DirectClient,
    "aiohttp": AiohttpClient,
    "httpx": HttpxClient,
}


def open_client(settings: ClientSettings) -> Client:
    """The client that the settings choose, on the running event loop. Raises OSError for unusable certificate files."""
    return _CLIENTS[settings.client](settings)
