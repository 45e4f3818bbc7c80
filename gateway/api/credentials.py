"""Where a caller may put its key. Clients differ: a scheme in any letter case, none at all, or a header of its own."""

from __future__ import annotations

from collections.abc import Iterable

_OWN_HEADERS = (b"x-api-key", b"api-key")


def presented_key(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key in these ASGI headers, None if there is none.

    `Authorization: Bearer <key>` with the scheme in any letter case, `Authorization: <key>`, `X-Api-Key: <key>` or
    `Api-Key: <key>`; `Authorization` wins. The bytes are kept as they are (ISO-8859-1), so nothing can fail to decode.
    """
    own = None
    for name, value in headers:
        if name == b"authorization":
            if key := _without_scheme(value):
                return key.decode("latin-1")
        elif own is None and name in _OWN_HEADERS:
            own = value.strip().decode("latin-1") or None
    return own


def _without_scheme(value: bytes) -> bytes:
    scheme, _, rest = value.strip().partition(b" ")
    return rest.strip() if scheme.lower() == b"bearer" else value.strip()
