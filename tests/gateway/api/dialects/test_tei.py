"""text-embeddings-inference: the model in the path, bare lists, `/info` and `/health`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.api.dialects.conftest import DOCUMENTS, ORDER, QUERY, SCORES

ROWS = [{"index": index, "score": score} for index, score in zip(ORDER, SCORES, strict=True)]
MODELS: dict[str, tuple[str, dict[str, Any], str]] = {
    "the default": ("/tei/rerank", {}, "default"),
    "in the path": ("/tei/texts/in-path/rerank", {}, "in-path"),
    "with slashes": ("/tei/texts/org/in-path/rerank", {}, "org/in-path"),
    "a name of the configuration": ("/tei/short/rerank", {}, "m"),
    "in the body": ("/tei/rerank", {"model": "texts/in-body"}, "in-body"),
    "the path before the body": ("/tei/texts/in-path/rerank", {"model": "texts/in-body"}, "in-path"),
    "at the server's root": ("/tei", {}, "default"),
    "with a slash at the end": ("/tei/rerank/", {}, "default"),
}


@pytest.mark.parametrize(("path", "fields", "model"), MODELS.values(), ids=MODELS)
async def test_ranks_by_the_model(path, fields, model, gateway, upstream) -> None:
    response = await gateway.post(path, json={"query": QUERY, "texts": DOCUMENTS, **fields})
    assert (response.status_code, response.json()) == (200, ROWS)
    assert upstream.requests[0].body["model"] == model


async def test_texts_come_back_when_asked_for(gateway) -> None:
    response = await gateway.post("/tei/rerank", json={"query": QUERY, "texts": DOCUMENTS, "return_text": "true"})
    assert [row["text"] for row in response.json()] == [DOCUMENTS[index] for index in ORDER]


async def test_truncate_and_raw_scores_reach_targets_that_know_them(gateway, upstream) -> None:
    body = {"query": QUERY, "texts": DOCUMENTS, "truncate": True, "raw_scores": True}
    await gateway.post("/tei/texts/m/rerank", json=body)
    await gateway.post("/tei/parts/m/rerank", json=body)
    assert upstream.requests[0].body["truncation"] is True
    assert upstream.requests[1].body["use_activation"] is False


REFUSALS: dict[str, tuple[str, dict[str, Any], int, str, str]] = {
    "no texts": ("/tei/rerank", {"texts": []}, 400, "Empty", "`texts` cannot be empty"),
    "texts missing": ("/tei/rerank", {"texts": ...}, 422, "Validation", "missing field `texts`"),
    "query missing": ("/tei/rerank", {"query": ...}, 422, "Validation", "missing field `query`"),
    "a wrong type": ("/tei/rerank", {"texts": [1]}, 422, "Validation", "$.texts[0]"),
    "unknown model": ("/tei/nope/m/rerank", {}, 404, "Validation", 'unknown model "nope/m"'),
    "another endpoint": ("/tei/texts/m/embed", {}, 404, "Validation", "POST /rerank"),
}


@pytest.mark.parametrize(("path", "fields", "status", "kind", "part"), REFUSALS.values(), ids=REFUSALS)
async def test_refuses_in_its_own_shape(path, fields, status, kind, part, gateway) -> None:
    body = {name: value for name, value in {"query": QUERY, "texts": DOCUMENTS, **fields}.items() if value is not ...}
    response = await gateway.post(path, json=body)
    assert (response.status_code, set(response.json())) == (status, {"error", "error_type"})
    assert response.json()["error_type"] == kind
    assert part in response.json()["error"]


async def test_a_full_upstream_is_overloaded(gateway, upstream) -> None:
    upstream.reply_with(429, {}, {})
    response = await gateway.post("/tei/rerank", json={"query": QUERY, "texts": DOCUMENTS})
    assert (response.status_code, response.json()["error_type"]) == (429, "Overloaded")


INFO = {
    "the default": ("/tei/info", "texts/default"),
    "at the bare address": ("/info", "texts/default"),
    "of one model": ("/tei/texts/org/m/info", "texts/org/m"),
}


@pytest.mark.parametrize(("path", "model"), INFO.values(), ids=INFO)
async def test_info_says_what_clients_read(path, model, gateway) -> None:
    info = (await gateway.get(path)).json()
    assert info["model_id"] == model
    assert next(iter(info["model_type"])) == "reranker"
    assert info["max_input_length"] > 0
    assert info["max_client_batch_size"] > 32


STATUSES = {
    "health": ("/tei/health", 200),
    "health of a model": ("/tei/texts/m/health", 200),
    "health of an unknown model": ("/tei/nope/m/health", 404),
    "info of an unknown model": ("/tei/nope/m/info", 404),
    "the server's health": ("/health", 200),
    "anything else": ("/tei/metrics", 404),
    "a path that only begins like it": ("/teifoo/rerank", 404),
}


@pytest.mark.parametrize(("path", "status"), STATUSES.values(), ids=STATUSES)
async def test_gets(path, status, gateway) -> None:
    response = await gateway.get(path)
    assert response.status_code == status
    assert response.json() is not None


METHODS = {
    "POST of info": ("POST", "/tei/info", 405, "GET, HEAD"),
    "PUT of health": ("PUT", "/tei/health", 405, "GET, HEAD"),
    "DELETE of a model's info": ("DELETE", "/tei/texts/m/info", 405, "GET, HEAD"),
    "GET of rerank": ("GET", "/tei/rerank", 405, "POST"),
    "PUT of rerank": ("PUT", "/tei/texts/m/rerank", 405, "POST"),
    "HEAD of info": ("HEAD", "/tei/info", 200, None),
    "HEAD of health": ("HEAD", "/tei/health", 200, None),
}


@pytest.mark.parametrize(("method", "path", "status", "allow"), METHODS.values(), ids=METHODS)
async def test_methods_are_what_they_are_for(method, path, status, allow, gateway) -> None:
    response = await gateway.request(method, path)
    assert (response.status_code, response.headers.get("allow")) == (status, allow)


async def test_info_takes_no_more_than_the_gateway_does(opened, upstream) -> None:
    vendor = {"adapter": "vllm", "base_url": upstream.url}
    tree = {"providers": {"v": vendor}, "default_model": "v/m"}
    for limits, most in (({"documents": 2}, 2), ({}, 1000)):
        client = await opened({**tree, "request_limits": limits})
        told = [(await client.get(path)).json()["max_client_batch_size"] for path in ("/info", "/tei/info")]
        assert told == [most, most]


async def test_info_needs_the_key_and_health_does_not(opened, upstream) -> None:
    vendor = {"adapter": "vllm", "base_url": upstream.url}
    auth = {"keys": [{"name": "a", "hash": "sha256:" + "0" * 64}]}
    client = await opened({"providers": {"v": vendor}, "default_model": "v/m", "auth": auth})
    statuses = [(await client.get(path)).status_code for path in ("/info", "/tei/info", "/tei/health")]
    assert statuses == [401, 401, 200]
    refused = [await client.get(path) for path in ("/info", "/tei/info", "/tei/v/m/health")]
    assert [response.headers["www-authenticate"] for response in refused] == ["Bearer"] * 3
