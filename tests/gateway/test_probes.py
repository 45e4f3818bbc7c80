"""The probes answer whoever asks, with GET or HEAD."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_gateway_without_local_models_is_ready_at_once(opened, upstream, path, method) -> None:
    gateway = await opened({"providers": {"vllm": {"base_url": upstream.url}}})
    response = await gateway.request(method, path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert (response.content == b"") is (method == "HEAD")
