"""Optional packages that a setting or a command needs."""

from __future__ import annotations

from gateway.config.server import ServerSettings
from gateway.errors import Problem
from providers.wire.extras import needs

missing_for_mcp = needs("mcp", "mcp")
"""The command that installs what the tools for agents need; "" if all is there."""


missing_for_ray = needs("local,ray", "ray")
"""The command that installs Ray Serve, for the hosts of a cluster; "" if it is here."""


def mcp_problem() -> str | None:
    """What to do before the tools for agents can be offered; None if nothing."""
    command = missing_for_mcp()
    return f"needs packages that are not installed: {command}" if command else None


def problems(server: ServerSettings) -> list[Problem]:
    """What the settings of the server need and is not installed."""
    fault = mcp_problem() if server.mcp else None
    return [Problem("server.mcp", fault)] if fault else []
