"""Refuse addresses that would expose the gateway by accident, before any port opens."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address

from gateway.access.keys import AuthSettings
from gateway.config.server import ServerSettings
from gateway.errors import ConfigError, Problem


def check_listeners(server: ServerSettings, auth: AuthSettings | None) -> None:
    """Check the addresses and the ports.

    Raises:
        ConfigError: other machines can reach an address and `auth` is absent; or callers and operators share a port,
            which is what tells them apart.
    """
    hosts = [server.host, *([server.admin.host] if server.admin else [])]
    if auth is None and (open_to_all := [name for name in hosts if not is_loopback(name)]):
        message = (
            f'is required to listen on "{open_to_all[0]}", where anyone who reaches this machine could call; add keys '
            "(`rerank-gateway keys new NAME` prints one), listen on 127.0.0.1, or write `auth: none`"
        )
        raise ConfigError([Problem("auth", message)])
    if server.admin and server.admin.port == server.port:
        message = f"is {server.port}, the same as server.port; choose another port"
        raise ConfigError([Problem("server.admin.port", message)])


def check_keys_kept(before: AuthSettings | None, auth: AuthSettings | None) -> None:
    """Raises ConfigError if keys were required and the new configuration does not say a word of them.

    A file that was emptied, or cut short by a full disk, is a valid one as well. It must not let everybody in.
    """
    if auth is None and before is not None and before.keys:
        message = "is missing, and keys were required so far; to go on without any, write `auth: none`"
        raise ConfigError([Problem("auth", message)])


def check_keys_work(auth: AuthSettings | None) -> None:
    """Raises ConfigError for keys that have expired. Only `check` asks: a gateway starts with the keys that work."""
    if auth is not None and (problems := auth.expired(datetime.now(UTC))):
        raise ConfigError(problems)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
