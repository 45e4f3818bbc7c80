"""What Xinference's clients ask before they rerank."""

from __future__ import annotations

import pytest

KNOWN = {
    "a name of the configuration": ("short", "texts"),
    "a model of a provider": ("texts/m", "texts"),
    "one with more slashes": ("texts/org/m", "texts"),
}


@pytest.mark.parametrize(("name", "owner"), KNOWN.values(), ids=KNOWN)
async def test_a_model_is_a_reranker(name, owner, gateway) -> None:
    model = (await gateway.get(f"/v1/models/{name}")).json()
    assert (model["id"], model["model_type"], model["owned_by"], model["object"]) == (name, "rerank", owner, "model")


async def test_an_unknown_model_is_told_where_they_look(gateway) -> None:
    response = await gateway.get("/v1/models/nope")
    assert (response.status_code, response.json()["detail"]) == (
        404,
        'unknown model "nope"; GET /v1/models lists the names',
    )


async def test_no_key_is_needed(gateway) -> None:
    assert (await gateway.get("/v1/cluster/auth")).json() == {"auth": False}


async def test_a_key_is_needed_where_there_are_keys(opened, upstream) -> None:
    auth = {"keys": [{"name": "a", "hash": "sha256:" + "0" * 64}]}
    client = await opened({"providers": {"v": {"adapter": "vllm", "base_url": upstream.url}}, "auth": auth})
    assert (await client.get("/v1/cluster/auth")).json() == {"auth": True}
    assert (await client.get("/v1/models/v/m")).status_code == 401
