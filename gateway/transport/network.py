"""What all clients share: how much they remember of URLs, and the wording of network errors."""

from __future__ import annotations

import errno
import os
from urllib.parse import urlsplit

MAX_URLS = 1024
"""URLs that a client keeps in its cache. Some hold the name of a model, which callers write: without a bound, invented
names would fill the memory."""

_OWN_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


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
