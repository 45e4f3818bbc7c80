"""Ask the gateway of this container whether it is ready. The image's HEALTHCHECK runs it:

    python -m gateway.server.healthcheck

The gateway writes where it listens into a file, so that the check follows the configuration, the command line and TLS.
This runs every few seconds for as long as the container lives, so it imports nothing but the standard library.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from gateway.config.server import TlsSettings

ADDRESS_FILE_VARIABLE = "RERANK_GATEWAY_ADDRESS_FILE"
"""The environment variable that names the file with the address. The image sets it; without it nothing is written."""

TIMEOUT = 2.0
"""Seconds for the gateway to answer."""

logger = logging.getLogger(__name__)


def publish(url: str, tls: TlsSettings | None) -> None:
    """Write down what the check has to ask, if the environment names a file. A file that cannot be written is logged.

    Args:
        url: where this machine reaches the gateway.
        tls: what callers meet there. Where they need a certificate, which the check has not, `tcp` takes the place of
            `https`: that the gateway takes connections is all that can be seen then.
    """
    path = os.environ.get(ADDRESS_FILE_VARIABLE)
    if not path:
        return
    needs_certificate = tls is not None and tls.client_ca is not None
    try:
        Path(path).write_text(url.replace("https:", "tcp:", 1) if needs_certificate else url, "utf-8")
    except OSError as error:
        logger.warning("the health check will fail: cannot write %s: %s", path, error.strerror)


def check(address: str) -> None:
    """Raises OSError or HTTPException unless the gateway at that address is ready."""
    parts = urlsplit(address)
    if parts.scheme == "tcp":
        socket.create_connection((parts.hostname, parts.port), TIMEOUT).close()
        return
    connection = _connection(parts)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        if response.status != 200:
            raise OSError(f"HTTP {response.status}: {response.read(1000).decode('utf-8', 'replace')}")
    finally:
        connection.close()


def _connection(parts: SplitResult) -> HTTPConnection:
    """Straight to the gateway: `http.client` reads no proxy from the environment."""
    host = parts.hostname or ""
    if parts.scheme == "http":
        return HTTPConnection(host, parts.port, timeout=TIMEOUT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The certificate names the host that callers use, not this container's loopback address.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return HTTPSConnection(host, parts.port, timeout=TIMEOUT, context=context)


def main() -> int:
    """Returns 0 if the gateway is ready, else 1, with the reason on standard output, where Docker keeps it."""
    try:
        check(Path(os.environ[ADDRESS_FILE_VARIABLE]).read_text("utf-8"))
    except KeyError:
        print(f"{ADDRESS_FILE_VARIABLE} is not set")
    except (OSError, HTTPException) as error:
        print(error)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
