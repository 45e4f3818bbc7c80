"""Vendors with a wire shape of their own, called through the whole gateway: URL, credential, answer and errors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.config.loader import from_tree
from gateway.errors import ConfigError
from gateway.routing import kinds
from providers import registry

WIRE = Path(__file__).parents[2] / "wire"
BEARER = ("authorization", "Bearer the-key")
CALLS: dict[str, tuple[dict[str, Any], str, str, tuple[str, str]]] = {
    "pinecone": ({}, "bge-reranker-v2-m3", "/rerank", ("api-key", "the-key")),
    "dashscope": ({}, "qwen3-rerank", "/compatible-api/v1/reranks", BEARER),
    "contextual": ({}, "ctxl-rerank-v1-instruct", "/v1/rerank", BEARER),
    "isaacus": ({}, "kanon-2-reranker", "/v1/rerankings", BEARER),
    "zeroentropy": ({}, "zerank-2", "/v1/models/rerank", BEARER),
    "watsonx": (
        {"space_id": "a-space"},
        "cross-encoder/ms-marco-minilm-l-12-v2",
        "/ml/v1/text/rerank?version=2024-03-13",
        BEARER,
    ),
    "elastic": ({}, "my endpoint", "/_inference/rerank/my%20endpoint", ("authorization", "ApiKey the-key")),
    "cloudflare": (
        {"account_id": "a1"},
        "@cf/baai/bge-reranker-base",
        "/client/v4/accounts/a1/ai/run/@cf/baai/bge-reranker-base",
        BEARER,
    ),
    "systemone": ({}, "jev-latest", "/v1/systemone", BEARER),
}
ERRORS = [
    (vendor, body.stem, int(re.findall(r"\d+", body.stem)[0]))
    for vendor in CALLS
    for body in sorted((WIRE / vendor).glob("error_*.json"))
]


def settings(vendor: str, base_url: str) -> dict[str, Any]:
    options = CALLS[vendor][0]
    given = {"base_url": base_url, "api_key": "the-key", "retry": {"retries": 0}}
    return {**given, "options": options} if options else given


def asked(vendor: str) -> dict[str, Any]:
    return {"model": f"{vendor}/{CALLS[vendor][1]}", "query": "how long", "documents": ["tubes", "helmets"]}


@pytest.mark.parametrize("vendor", CALLS)
async def test_an_answer_comes_through(vendor: str, opened, upstream) -> None:
    _, _, path, (header, value) = CALLS[vendor]
    upstream.reply_with(200, (WIRE / vendor / "success.json").read_bytes())
    gateway = await opened({"providers": {vendor: settings(vendor, upstream.url)}})
    answer = await gateway.post("/v1/rerank", json=asked(vendor))
    assert answer.status_code == 200, answer.text
    assert [row["index"] for row in answer.json()["results"]] == [1, 0]
    (sent,) = upstream.requests
    assert (sent.path, sent.headers[header]) == (path, value)
    demanded = registry.find(vendor).headers
    assert {name: sent.headers[name.lower()] for name in demanded} == demanded


@pytest.mark.parametrize(("vendor", "body", "status"), ERRORS, ids=[f"{vendor}, {body}" for vendor, body, _ in ERRORS])
async def test_an_error_is_told_as_what_it_is(vendor: str, body: str, status: int, opened, upstream) -> None:
    recorded = (WIRE / vendor / f"{body}.json").read_bytes()
    upstream.reply_with(status, recorded)
    gateway = await opened({"providers": {vendor: settings(vendor, upstream.url)}})
    answer = await gateway.post("/v1/rerank", json=asked(vendor))
    assert answer.status_code >= 400
    sentence = registry.find(vendor).error_message(recorded)
    if status in (401, 403):  # The operator's matter: a caller is told no more than that.
        assert (answer.json()["error_type"], sentence in answer.text) == ("upstream_credentials", False)
    else:
        assert sentence in json.dumps(answer.json(), ensure_ascii=False)
    assert "the-key" not in answer.text


WRONG = {
    "neither a project nor a space": ("watsonx", {}, "options: set either project_id or space_id"),
    "a project and a space": (
        "watsonx",
        {"project_id": "a", "space_id": "b"},
        "options: set either project_id or space_id",
    ),
    "a region that is a host": (
        "watsonx",
        {"project_id": "a", "region": "evil.example/"},
        "options.region: Expected `str` matching regex '^[A-Za-z0-9_-]+$'",
    ),
    "no account": ("cloudflare", {}, "options.account_id: is required"),
    "an account that is a path": (
        "cloudflare",
        {"account_id": "a/../b"},
        "options.account_id: Expected `str` matching regex '^[A-Za-z0-9_-]+$'",
    ),
}


@pytest.mark.parametrize(("vendor", "options", "problem"), WRONG.values(), ids=WRONG)
def test_a_mistake_in_the_options_is_named(vendor: str, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_tree({"providers": {vendor: {"api_key": "k", "options": options}}})
    assert list(map(str, caught.value.problems)) == [f"providers.{vendor}.{problem}"]


def test_the_region_is_the_host() -> None:
    options = {"project_id": "a", "region": "eu-de"}
    config = from_tree({"providers": {"watsonx": {"api_key": "k", "options": options}}})
    assert kinds.configure(config, "watsonx").server() == ("eu-de.ml.cloud.ibm.com", 443)
