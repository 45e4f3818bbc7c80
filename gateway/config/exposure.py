"""A gateway without keys is open to everybody who reaches it, so it must not be reached from outside by accident."""

from __future__ import annotations

from ipaddress import ip_address

from gateway.access.keys import KeysConfig
from gateway.config.server import ListenerSettings
from gateway.errors import ConfigError, Problem


def check_listeners(host: str, port: int, edge: ListenerSettings, auth: KeysConfig | None) -> None:
    """What must hold before a port opens.

    Raises:
        ConfigError: an address can be reached from outside and nothing was written about who may call; callers and
            operators have the same port, by which they are told apart; or the files of TLS cannot be used.
    """
    hosts = [host, *([edge.admin.host] if edge.admin else [])]
    if auth is None and (open_to_all := [name for name in hosts if not is_loopback(name)]):
        message = (
            f'listening on "{open_to_all[0]}" would let everybody in who can reach this machine; name keys '
            "(`rerank-gateway keys new NAME` prints one), listen on 127.0.0.1, or write `auth: none`"
        )
        raise ConfigError([Problem("auth", message)])
    if edge.admin and edge.admin.port == port:
        raise ConfigError([Problem("server.admin.port", f"is {port}, the callers' port too: choose another")])
    if edge.tls:
        edge.tls.check()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
