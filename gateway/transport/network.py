"""What all clients share: TLS contexts, the choice of a proxy, and the wording of network errors."""

from __future__ import annotations

import errno
import os
import ssl
from functools import lru_cache
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

MAX_URLS = 1024
"""URLs that a client keeps in its cache. Some hold the name of a model, which callers write: without a bound, invented
names would fill the memory."""

_OWN_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class ResumingContext(ssl.SSLContext):
    """A client context that resumes the TLS session of an earlier connection to the same host.

    A resumed handshake skips the certificates, which saves a round trip and most of the CPU. asyncio has no parameter
    for a session, but it creates each connection with `wrap_bio`.
    """

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
        """See SSLContext.wrap_bio; uses the host's latest session unless one is given."""
        latest = self._latest.get(server_hostname)
        if latest is not None and latest.version() is not None:
            # Read the session late: TLS 1.3 servers send the ticket only after the handshake (RFC 8446 section 4.6.1).
            self._sessions[server_hostname] = latest.session
        session = session or self._sessions.get(server_hostname)
        connection = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        self._latest[server_hostname] = connection
        return connection


@lru_cache(maxsize=64)
def tls_context(ca_file: str | None, client_cert: str | None, client_key: str | None) -> ssl.SSLContext:
    """A TLS context that verifies servers. Cached: loading the system's authorities takes tens of ms and about 1 MB.

    Args:
        ca_file: PEM file of authorities to trust in addition to the system's.
        client_cert: PEM file of our certificate chain.
        client_key: PEM file of its key, unless `client_cert` contains it.

    Raises:
        OSError: a file is missing, unreadable or not what it should be (ssl.SSLError is an OSError).
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
    """The proxy to use for a URL, or None.

    Args:
        setting: `environment`, `none`, or the URL of a proxy, as in ClientSettings.
        url: of the request.
    """
    if setting != "environment":
        return None if setting == "none" else setting
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    # As in curl, `HTTP_PROXY=host:port` without a scheme means an HTTP proxy.
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def system_reason(cause: object) -> str | None:
    """The TLS library's or the operating system's description of an error, or None; without paths and addresses."""
    reason = getattr(cause, "verify_message", None) or getattr(cause, "reason", None)
    # Negative numbers are the resolver's (EAI_*), for which strerror has no text.
    if reason is None and isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        reason = os.strerror(cause.errno)
    return str(reason) if reason else None


def is_own_shortage(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is that this machine has no more descriptors or memory for connections."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _OWN_SHORTAGES:
            return True
        error = error.__cause__ or error.__context__
    return False


def host_of(url: str) -> str:
    """Host and port of a URL, for messages: without credentials, path and query string."""
    return urlsplit(url).netloc.rpartition("@")[2]
