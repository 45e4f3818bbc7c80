"""A gateway without keys is open to everybody who reaches it, so it must not be reached from outside by accident."""

from __future__ import annotations

from ipaddress import ip_address

from gateway.access.keys import KeysConfig
from gateway.errors import ConfigError, Problem


def check(host: str, auth: KeysConfig | None) -> None:
    """Raises ConfigError if the address can be reached from outside and nothing was written about who may call."""
    if auth is None and not is_loopback(host):
        raise ConfigError(
            [
                Problem(
                    "auth",
                    f'listening on "{host}" would let everybody in who can reach this machine; name keys '
                    "(`rerank-gateway keys new NAME` prints one), listen on 127.0.0.1, or write `auth: none`",
                )
            ]
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
