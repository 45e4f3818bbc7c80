"""Names of the headers that we read and write."""

from __future__ import annotations

REQUEST_TIMEOUT = "x-request-timeout-ms"
"""Milliseconds: from callers, how long they wait; to upstreams, how much of that is left."""

REQUEST_TIMEOUT_BYTES = REQUEST_TIMEOUT.encode()
"""The same, as ASGI has it."""
