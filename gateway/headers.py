"""Names of HTTP headers that more than one package uses."""

from __future__ import annotations

REQUEST_TIMEOUT = "x-request-timeout-ms"
"""How long the caller waits for a response, in milliseconds. Upstreams get the time that is left."""

REQUEST_TIMEOUT_BYTES = REQUEST_TIMEOUT.encode()
"""The same name as bytes, which is how ASGI gives header names."""
