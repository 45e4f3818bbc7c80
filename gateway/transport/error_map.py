"""Translate the errors of client libraries into ours, by one table per library."""

from __future__ import annotations

from msgspec.structs import asdict

from gateway.transport.base import Timeouts
from gateway.transport.network import host_of
from providers.errors import TargetError

ErrorMap = tuple[tuple[type[Exception], type[TargetError], str], ...]
"""Rows of (the library's class, our class, message template). The first row that matches applies.

Templates may use {host}, {reason} and the fields of Timeouts."""


def translate(error: Exception, error_map: ErrorMap, url: str, timeouts: Timeouts, reason: str) -> TargetError:
    """Our error for a library's. Of the URL the message names only the host: paths and queries may hold secrets.

    Args:
        error: matched by at least one row of `error_map`.
        error_map: of the library.
        url: of the request.
        timeouts: of the request.
        reason: what the operating system or the TLS library says about the error.
    """
    ours, template = next((ours, template) for foreign, ours, template in error_map if isinstance(error, foreign))
    return ours(template.format(host=host_of(url), reason=reason, **asdict(timeouts)))
