"""HEAD: the status and the headers of GET, and no body."""

from __future__ import annotations

from typing import Any

import pytest

SAME = ["/", "/v1/models", "/metrics", "/openapi.json", "/docs", "/livez", "/health", "/info", "/nowhere", "/v1/rerank"]


@pytest.mark.parametrize("path", SAME)
async def test_a_head_is_the_head_of_a_get(opened: Any, path: str) -> None:
    client = await opened({"providers": {"passthrough": {}}, "default_model": "passthrough/order"})
    got, head = await client.get(path), await client.head(path)
    assert head.status_code == got.status_code
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.headers.get("allow") == got.headers.get("allow")
    assert head.content == b""


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/openapi.json"])
async def test_what_can_be_read_can_be_asked_about(opened: Any, path: str) -> None:
    client = await opened({"providers": {"passthrough": {}}})
    assert (await client.head(path)).status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/openapi.json", "/livez", "/info"])
async def test_what_refuses_another_method_names_both(opened: Any, path: str) -> None:
    client = await opened({"providers": {"passthrough": {}}})
    response = await client.post(path)
    allowed = response.headers["allow"].split(", ")
    assert (response.status_code, len(allowed)) == (405, len(set(allowed)))
    assert {"GET", "HEAD"} <= set(allowed)
