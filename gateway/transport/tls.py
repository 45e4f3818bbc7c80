"""TLS to upstreams: contexts that resume sessions, and that follow their files when these are replaced."""

from __future__ import annotations

import logging
import ssl
from functools import lru_cache

from gateway.file_stamps import FileStamp, stamp_of

logger = logging.getLogger(__name__)

MAX_CONTEXTS = 64
"""Contexts that are kept, of all providers together; each takes about 1 MB."""


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


class TlsFiles:
    """The files that TLS with one provider needs, and the context made of them.

    Certificates are renewed in place, often every few days. So each new connection takes a context of the files as they
    are then. While they cannot be used, as between the renewal of a certificate and that of its key, the previous one
    stays.

    Args:
        ca_file: PEM file of authorities to trust in addition to the system's.
        client_cert: PEM file of our certificate chain.
        client_key: PEM file of its key, unless `client_cert` contains it.

    Raises:
        OSError: a file is missing, unreadable or not what it should be (ssl.SSLError is an OSError).
    """

    def __init__(self, ca_file: str | None, client_cert: str | None, client_key: str | None) -> None:
        self._files = (ca_file, client_cert, client_key)
        self._stamps = _stamps(*self._files)
        self._context = _load(*self._files, self._stamps)

    def context(self) -> ssl.SSLContext:
        """The context for a new connection. Costs one look at each file."""
        if any(self._files):
            stamps = _stamps(*self._files)
            if stamps != self._stamps:
                self._stamps = stamps
                self._reload()
        return self._context

    def _reload(self) -> None:
        try:
            self._context = _load(*self._files, self._stamps)
        except OSError as error:
            named = ", ".join(file for file in self._files if file)
            logger.warning("the previous TLS files stay in use, since %s cannot be used: %s", named, error)


def tls_context(ca_file: str | None, client_cert: str | None, client_key: str | None) -> ssl.SSLContext:
    """A TLS context that verifies servers, of these files as they are now. Arguments and errors: see TlsFiles."""
    return _load(ca_file, client_cert, client_key, _stamps(ca_file, client_cert, client_key))


@lru_cache(maxsize=MAX_CONTEXTS)
def _load(
    ca_file: str | None, client_cert: str | None, client_key: str | None, stamps: tuple[FileStamp | None, ...]
) -> ssl.SSLContext:
    """Cached, by the stamps too: loading the system's authorities takes tens of milliseconds."""
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    if client_cert is not None:
        context.load_cert_chain(client_cert, client_key, "")  # Or OpenSSL asks for a password at the terminal.
    return context


def _stamps(*files: str | None) -> tuple[FileStamp | None, ...]:
    return tuple(None if file is None else stamp_of(file) for file in files)
