"""The probes answer whoever asks, with GET or HEAD."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz", "/health"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_gateway_without_local_models_is_ready_at_once(opened, upstream, path, method) -> None:
    gateway = await opened({"providers": {"vllm": {"base_url": upstream.url}}})
    response = await gateway.request(method, path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert (response.content == b"") is (method == "HEAD")


ORDINARY = ["/livez", "/health", "/v1/models", "/v1/cluster/auth", "/metrics", "/docs", "/docs-assets/swagger-ui.css"]
ORDINARY += ["/tei/health", "/tei/nothing", "/nothing"]


@pytest.mark.parametrize("path", ORDINARY)
async def test_every_answer_names_its_request(opened, upstream, path) -> None:
    gateway = await opened({"providers": {"vllm": {"base_url": upstream.url}}, "default_model": "vllm/m"})
    echoed = await gateway.get(path, headers={"x-request-id": "mine"})
    assert echoed.headers.get_list("x-request-id") == ["mine"]
    made = [(await gateway.get(path)).headers["x-request-id"] for _ in range(2)]
    assert made[0] != made[1]
