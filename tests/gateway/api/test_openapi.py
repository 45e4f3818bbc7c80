"""The OpenAPI document and its page: valid, complete, true, and without the internet."""

from __future__ import annotations

import re
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.api import dialect_routes
from gateway.api.dialects.score import PATHS as SCORES
from gateway.api.dialects.unified.dialect import PATHS
from gateway.api.dialects.unified.request import Body
from providers import registry

MOUNTED = {path for dialect in dialect_routes.dialects(lambda: None) for path in dialect.paths} | {"/tei/rerank"}


@pytest.fixture
async def gateway(opened, upstream) -> httpx.AsyncClient:
    client: httpx.AsyncClient = await opened({"providers": {"cohere": {"base_url": upstream.url}}})
    return client


@pytest.fixture
async def document(gateway) -> dict[str, Any]:
    response = await gateway.get("/docs/openapi.json")
    assert response.status_code == 200
    document: dict[str, Any] = response.json()
    return document


def schema_of(document: dict[str, Any], name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**document, "$ref": f"#/components/schemas/{name}"})


async def test_the_document_is_valid(document) -> None:
    OpenAPIV31SpecValidator(document).validate()


async def test_every_route_is_in_it(document) -> None:
    assert set(document["paths"]) >= {*PATHS, *MOUNTED, "/v1/models", "/livez", "/readyz", "/health"}
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["summary"] and operation["responses"] for operation in operations)


async def test_the_request_holds_every_field_that_is_decoded(document) -> None:
    declared = {field for name in registry.names() for field in registry.find(name).fields}
    request = document["components"]["schemas"]["RerankRequest"]
    assert set(request["properties"]) == {*Body.__struct_fields__, *declared}
    assert request["required"] == ["model", "query", "documents"]
    assert all(field.get("description") or "items" in field for field in request["properties"].values())


LEAST = {"model": "cohere/m", "query": "q", "documents": ["a", {"text": "b", "id": 1, "meta": {}}, {"Title": "c"}]}
BODIES: dict[str, tuple[dict[str, Any], bool]] = {
    "the least": (LEAST, True),
    "all": (
        {
            **LEAST, "top_n": 1, "top_k": 1, "max_tokens_per_doc": 1, "priority": 1, "return_documents": True,
            "fallbacks": ["cohere/n"], "unknown": 1,
        },
        True,
    ),
    "nulls": ({**LEAST, "top_n": None, "fallbacks": None, "return_documents": None}, True),
    "no model": ({"query": "q", "documents": ["a"]}, False),
    "no query": ({"model": "cohere/m", "documents": ["a"]}, False),
    "an empty query": ({**LEAST, "query": ""}, False),
    "no documents": ({**LEAST, "documents": []}, False),
    "an empty document": ({**LEAST, "documents": [""]}, False),
    "an object without anything": ({**LEAST, "documents": [{}]}, False),
    "a document that is a number": ({**LEAST, "documents": [1]}, False),
    "a text that is a number": ({**LEAST, "documents": [{"text": 1}]}, False),
    "top_n of nothing": ({**LEAST, "top_n": 0}, False),
    "top_n in words": ({**LEAST, "top_n": "one"}, False),
}  # fmt: skip


@pytest.mark.parametrize(("body", "valid"), BODIES.values(), ids=BODIES)
async def test_the_schema_and_the_gateway_agree_on_a_request(gateway, document, body, valid) -> None:
    response = await gateway.post("/v1/rerank", json=body)
    assert schema_of(document, "RerankRequest").is_valid(body) is valid
    assert (response.status_code == 200) is valid
    schema_of(document, "Answer" if valid else "ErrorBody").validate(response.json())


async def test_the_example_of_the_document_is_a_valid_request(document) -> None:
    media = document["paths"]["/v1/rerank"]["post"]["requestBody"]["content"]["application/json"]
    schema_of(document, media["schema"]["$ref"].rpartition("/")[2]).validate(media["example"])


async def test_answers_with_everything_in_them_are_as_the_schema_says(gateway, document, upstream) -> None:
    rows = [{"index": 0, "relevance_score": 1}]
    answers = [(500, {}, {}), (200, {"results": rows, "meta": {"tokens": {"input_tokens": 1}}}, {})]
    upstream.behaviour = lambda asked: answers[len(upstream.requests) - 1]
    body = {**LEAST, "return_documents": True, "fallbacks": ["cohere/n"]}
    reply = (await gateway.post("/v1/rerank", json=body)).json()
    assert len(reply["extra_fields"]["attempts"]) == 2
    schema_of(document, "Answer").validate(reply)


ASKED = {
    **{path: {"model": "cohere/m", "query": "q", "documents": ["a", "b"]} for path in MOUNTED},
    **{path: {"model": "cohere/m", "text_1": "q", "text_2": ["a", "b"]} for path in SCORES},
    "/tei/rerank": {"model": "cohere/m", "query": "q", "texts": ["a", "b"]},
}


@pytest.mark.parametrize("path", sorted(MOUNTED))
async def test_the_strict_mounts_speak_as_their_schemas_say(gateway, document, upstream, path) -> None:
    upstream.reply_with(
        200, {"results": [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.25}]}, {}
    )
    operation = document["paths"][path]["post"]
    wanted = operation["requestBody"]["content"]["application/json"]["schema"]
    for body, status in ((ASKED[path], "200"), ({**ASKED[path], "model": "nope/m"}, "default"), ({}, "default")):
        response = await gateway.post(path, json=body)
        assert (response.status_code == 200) is (status == "200")
        shape = operation["responses"][status]["content"]["application/json"]["schema"]
        jsonschema.Draft202012Validator({**document, **shape}).validate(response.json())
        jsonschema.Draft202012Validator({**document, **wanted}).validate(body)


async def test_no_two_types_share_a_name(gateway, document) -> None:
    columns = document["components"]["schemas"]
    assert {"requests", "cost"} <= set(columns["UsageRow"]["properties"])
    assert {"prompt_tokens", "search_units"} <= set(columns["Usage"]["properties"])


async def test_every_reference_leads_somewhere(document) -> None:
    names = set(re.findall(r"#/components/schemas/([^\"]+)", msgspec.json.encode(document).decode()))
    assert names <= set(document["components"]["schemas"])


async def test_the_page_works_without_the_internet(gateway) -> None:
    page = await gateway.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(r"(?:src|href)=[\"'](?:https?:)?//", page.text)
    assert not re.search(r"https?://", page.text)
    assets = re.findall(r"(?:src|href)=[\"']([^\"']+)", page.text)
    assert len(assets) >= 3
    for asset in assets:
        answer = await gateway.get(asset)
        assert (answer.status_code, len(answer.content) > 500) == (200, True), asset


async def test_the_page_describes_the_rerank_routes(gateway) -> None:
    assert '"/v1/rerank"' in (await gateway.get("/docs")).text
