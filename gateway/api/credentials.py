"""Where clients put a key."""

from __future__ import annotations

from collections.abc import Iterable

_OTHERS = (b"x-api-key", b"api-key")


def presented_key(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key in these ASGI headers, None if there is none.

    `Authorization` wins: a bearer token, in whatever letter case the scheme is written, or the bare key, as some
    clients of text-embeddings-inference send it. Then `X-Api-Key`, then `Api-Key`. Any other scheme is no key of ours.
    """
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name == b"authorization":
            key = _token(value)
            if key is not None:
                return key
        elif name in _OTHERS:
            found.setdefault(name, value.strip())
    return next((found[name].decode("latin-1") for name in _OTHERS if found.get(name)), None)


def _token(value: bytes) -> str | None:
    words = value.split()
    if len(words) == 2 and words[0].lower() == b"bearer":
        return words[1].decode("latin-1")
    return words[0].decode("latin-1") if len(words) == 1 and words[0].lower() != b"bearer" else None
