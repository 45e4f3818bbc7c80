"""HTTP clients for calls to providers. Only this package imports a client library."""

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
    """Create the client that `settings.client` names, on the running event loop.

    Raises:
        OSError: a certificate or key file cannot be used.
    """
    return _CLIENTS[settings.client](settings)
