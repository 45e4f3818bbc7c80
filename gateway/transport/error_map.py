"""Translate the errors of client libraries into ours, by one table per library."""

from __future__ import annotations

from msgspec.structs import asdict

from gateway.transport.base import Timeouts
from gateway.transport.network import host_of, is_own_shortage
from providers.errors import Overloaded, TargetError, TargetTimeout

ErrorMap = tuple[tuple[type[Exception], type[TargetError], str], ...]
"""Rows of (the library's class, our class, message template). The first row that matches applies.

Templates may use {host}, {reason} and the fields of Timeouts."""

POOL_FULL = "every connection to {host} is in use; try again later"
"""What an Overloaded says of a full pool."""


def translate(
    error: Exception, error_map: ErrorMap, url: str, timeouts: Timeouts, reason: str, waited: float | None = None
) -> TargetError:
    """Our error for a library's. Of the URL the message names only the host: paths and queries may hold secrets.

    Args:
        error: matched by at least one row of `error_map`.
        error_map: of the library.
        url: of the request.
        timeouts: of the request.
        reason: what the operating system or the TLS library says about the error.
        waited: seconds for which the provider had been waited for, if that is known.
    """
    if is_own_shortage(error):
        return Overloaded(f"the gateway has no means left for a connection to {host_of(url)}: {reason}")
    ours, template = next((ours, template) for foreign, ours, template in error_map if isinstance(error, foreign))
    message = template.format(host=host_of(url), reason=reason, **asdict(timeouts))
    return TargetTimeout(message, waited=waited) if ours is TargetTimeout else ours(message)
