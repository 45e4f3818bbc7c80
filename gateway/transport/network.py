"""What both clients need to know of the network around us: certificates, proxies, and how to name a host."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


class ResumingContext(ssl.SSLContext):
    """Resumes the TLS session of an earlier connection to the same host. asyncio offers no parameter for that, but
    makes every connection here."""

    _latest: dict[str | bytes | None, ssl.SSLObject]
    _sessions: dict[str | bytes | None, ssl.SSLSession | None]

    def __init__(self, protocol: int) -> None:
        self._latest = {}
        self._sessions = {}

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """As SSLContext's."""
        latest = self._latest.get(server_hostname)
        if latest is not None and latest.version() is not None:
            # The handshake is over, and the ticket that TLS 1.3 servers send after it has come.
            self._sessions[server_hostname] = latest.session
        session = session or self._sessions.get(server_hostname)
        made = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        self._latest[server_hostname] = made
        return made


@lru_cache(maxsize=64)
def tls_context(ca_file: str | None, client_cert: str | None, client_key: str | None) -> ssl.SSLContext:
    """A verifying TLS context. Shared: reading the system's authorities costs tens of milliseconds and about 1 MB.

    Raises OSError (ssl.SSLError among them) for a file that is missing or not what it should be.
    """
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    if client_cert is not None:
        context.load_cert_chain(client_cert, client_key)
    return context


def proxy_of(setting: str, url: str) -> str | None:
    """The proxy on the way to this URL, if any: `environment`, `none`, or the proxy itself, as in ClientSettings."""
    if setting != "environment":
        return None if setting == "none" else setting
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    # Like curl, a proxy without a scheme speaks HTTP.
    return f"http://{found}" if found and "://" not in found else found


def system_reason(cause: object) -> str | None:
    """What the TLS library or the operating system says of the error that it raised; no path, no address."""
    told = getattr(cause, "verify_message", None) or getattr(cause, "reason", None)
    if told is None and isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        told = os.strerror(cause.errno)
    return str(told) if told else None


def host_of(url: str) -> str:
    """Host and port, for messages: no credentials, path or query string."""
    return urlsplit(url).netloc.rpartition("@")[2]
