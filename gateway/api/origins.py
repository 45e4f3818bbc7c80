"""Where a browser says that a request comes from. Without keys, nothing else keeps any web page from spending.

A page may send a POST of `text/plain` anywhere without asking first
(https://fetch.spec.whatwg.org/#cors-safelisted-request-header); CORS only keeps it from reading the answer. Programs
that are no browsers send neither of the two headers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gateway.errors import ForeignOrigin


def check_origin(headers: Mapping[bytes, bytes], allowed: Collection[str]) -> None:
    """Raises ForeignOrigin for the request of a page that is neither the gateway's own nor of an allowed origin.

    Args:
        headers: names in lower case.
        allowed: origins, such as `https://app.example.com`.
    """
    origin = headers.get(b"origin")
    if origin is None:
        if headers.get(b"sec-fetch-site") == b"cross-site":
            raise ForeignOrigin("a page of another site may not call this gateway; name its origin in server.cors")
    elif not _is_own(origin, headers) and origin.decode("latin-1") not in allowed:
        raise ForeignOrigin("pages of that Origin may not call this gateway; name it in server.cors")


def _is_own(origin: bytes, headers: Mapping[bytes, bytes]) -> bool:
    """Whether the page came from the gateway, such as its documentation. A proxy may have changed the scheme."""
    if headers.get(b"sec-fetch-site") == b"cross-site":
        return False
    return origin.partition(b"://")[2].lower() == headers.get(b"host", b"").lower() != b""
