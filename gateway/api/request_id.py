"""The request id: the caller's own if it is safe to log, else a new one. Every answer returns it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from random import getrandbits

HEADER = b"x-request-id"

_SAFE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


def request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The `x-request-id` in these ASGI headers; a new one if it is absent, too long, or could forge a log line."""
    for name, value in headers:
        if name == HEADER and _SAFE_ID.fullmatch(value):
            return value.decode("ascii")
    return f"{getrandbits(128):032x}"
