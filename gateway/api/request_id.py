"""The request id: taken from the caller if it is sane, else made, and sent back with every answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from random import getrandbits

NAME = b"x-request-id"

_SANE = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


def request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The `x-request-id` of these ASGI headers; a new one if it is absent, overlong or could forge a log line."""
    for name, value in headers:
        if name == NAME and _SANE.fullmatch(value):
            return value.decode("ascii")
    return f"{getrandbits(128):032x}"
