"""Ports for servers that do not say which one they took, and for those that must be known before anybody listens."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress

_PORTS = range(10_000, 30_000)
"""Below those that systems give out by themselves (Linux from 32768 on, RFC 6335 from 49152 on). Whatever else runs on
the machine gets none of these for its connections while a test has still to use one."""


def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
