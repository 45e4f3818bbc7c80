"""Everything between the gateway and an HTTP provider. Only this package knows a client library."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.upstream.aiohttp_client import AiohttpClient
from gateway.upstream.backend import HttpBackend
from gateway.upstream.direct_client import DirectClient
from gateway.upstream.httpx_client import HttpxClient
from gateway.upstream.seam import Client, ClientSettings, Response, Timeouts

__all__ = [
    "AiohttpClient",
    "Client",
    "ClientSettings",
    "DirectClient",
    "HttpBackend",
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
