"""TLS with callers, by the files as they are now: a renewed certificate is shown from the next connection on."""

from __future__ import annotations

import logging
import ssl
from typing import Any

from gateway.config.server import TlsSettings
from gateway.file_stamps import stamp_of

logger = logging.getLogger(__name__)


class RenewedContext(ssl.SSLContext):
    """A server's context that follows its files: each connection gets a context of them as they are then.

    Certificates are renewed every few weeks, or every few days, and the gateway must not have to restart for it. While
    the files cannot be used, as between the renewal of a certificate and that of its key, the previous ones
    stay. Connections that are open go on as they are. asyncio and uvloop begin each connection with `wrap_bio`.

    Args:
        tls: names the files.

    Raises:
        OSError: a file cannot be read or is not what it should be (ssl.SSLError is an OSError).
    """

    def __new__(cls, tls: TlsSettings) -> RenewedContext:
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, tls: TlsSettings) -> None:
        self._tls = tls
        self._stamps = self._current_stamps()
        self._latest = _load(tls)

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """See SSLContext.wrap_bio. Costs one look at each file."""
        return self._current().wrap_bio(*arguments, **options)

    def _current(self) -> ssl.SSLContext:
        stamps = self._current_stamps()
        if stamps != self._stamps:
            self._stamps = stamps
            try:
                self._latest = _load(self._tls)
            except OSError as error:
                logger.warning("the previous certificate stays in use, since server.tls cannot be used: %s", error)
            else:
                logger.info("the renewed files of server.tls are in use")
        return self._latest

    def _current_stamps(self) -> list[Any]:
        return [stamp_of(file) for file in (self._tls.cert, self._tls.key, self._tls.client_ca) if file]


def server_context(tls: TlsSettings, *of_uvicorn: object) -> ssl.SSLContext:
    """The context of a listener. What uvicorn adds, its configuration and its own way to a context, is not needed."""
    return RenewedContext(tls)


def _load(tls: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # With a password, even none, OpenSSL does not ask for one at the terminal: the event loop would wait for it.
    context.load_cert_chain(tls.cert, tls.key, "")
    if tls.client_ca is not None:
        context.load_verify_locations(tls.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
