"""The OpenAPI document and its page: valid, complete, true, and without the internet. In a browser: tests/ui."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import re
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.access.keys import hash_of
from gateway.api import dialect_routes
from gateway.api.dialects.score import PATHS as SCORES
from gateway.api.dialects.unified.dialect import PATHS
from gateway.api.dialects.unified.request import Body
from gateway.api.error_status import PASSED_THROUGH, STATUS
from gateway.api.openapi.routes import FOLDER, SWAGGER_UI
from providers import registry

MOUNTED = {path for dialect in dialect_routes.dialects(lambda: None) for path in dialect.paths} | {"/tei/rerank"}


@pytest.fixture
async def gateway(opened, upstream) -> httpx.AsyncClient:
    client: httpx.AsyncClient = await opened({"providers": {"cohere": {"base_url": upstream.url}, "passthrough": {}}})
    return client


@pytest.fixture
async def document(gateway) -> dict[str, Any]:
    response = await gateway.get("/openapi.json")
    assert response.status_code == 200
    document: dict[str, Any] = response.json()
    return document


def schema_of(document: dict[str, Any], name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**document, "$ref": f"#/components/schemas/{name}"})


async def test_the_document_is_valid(document) -> None:
    OpenAPIV31SpecValidator(document).validate()


async def test_every_route_is_in_it(document) -> None:
    assert set(document["paths"]) >= {*PATHS, *MOUNTED, "/v1/models", "/livez", "/readyz", "/startupz", "/health"}
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["summary"] and operation["responses"] for operation in operations)


async def test_the_request_holds_every_field_that_is_decoded(document) -> None:
    declared = {field for name in registry.names() for field in registry.find(name).fields}
    request = document["components"]["schemas"]["RerankRequest"]
    assert set(request["properties"]) == {*Body.__struct_fields__, *declared}
    assert request["required"] == ["query"]
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


TEXTS = {"query": "q", "texts": ["a", "b"]}
TEXT_BODIES: dict[str, tuple[dict[str, Any], bool]] = {
    "the least": (TEXTS, True),
    "a model": ({**TEXTS, "model": "cohere/m"}, True),
    "all": ({**TEXTS, "truncate": True, "raw_scores": False, "return_text": True}, True),
    "no query": ({"texts": ["a"]}, False),
    "a query that is no text": ({**TEXTS, "query": {"content": []}}, False),
    "texts that are objects": ({**TEXTS, "texts": [{"text": "a"}]}, False),
    "documents as well, and no model": ({**TEXTS, "documents": ["a"]}, False),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("body", "valid"), TEXT_BODIES.values(), ids=TEXT_BODIES)
async def test_the_schema_and_the_gateway_agree_on_texts(opened, upstream, document, path, body, valid) -> None:
    rows = [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.25}]
    upstream.reply_with(200, {"results": rows})
    client = await opened({"providers": {"cohere": {"base_url": upstream.url}}, "default_model": "cohere/m"})
    response = await client.post(path, json=body)
    assert (response.status_code == 200) is valid, response.text
    assert schema_of(document, "RerankRequest").is_valid(body) is valid
    shape = document["paths"][path]["post"]["responses"][str(response.status_code)]["content"]["application/json"]
    jsonschema.Draft202012Validator({**document, **shape["schema"]}).validate(response.json())


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
    for body, served in ((ASKED[path], True), ({**ASKED[path], "model": "nope/m"}, False), ({}, False)):
        response = await gateway.post(path, json=body)
        assert (response.status_code == 200) is served
        shape = operation["responses"][str(response.status_code)]["content"]["application/json"]["schema"]
        jsonschema.Draft202012Validator({**document, **shape}).validate(response.json())
        jsonschema.Draft202012Validator({**document, **wanted}).validate(body)


async def test_no_two_types_share_a_name(gateway, document) -> None:
    columns = document["components"]["schemas"]
    assert {"requests", "cost"} <= set(columns["UsageRow"]["properties"])
    assert {"prompt_tokens", "search_units"} <= set(columns["Usage"]["properties"])


async def test_every_reference_leads_somewhere(document) -> None:
    names = set(re.findall(r"#/components/schemas/([^\"]+)", msgspec.json.encode(document).decode()))
    assert names <= set(document["components"]["schemas"])


RERANK = {*PATHS, *MOUNTED}


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(path, operation) for path, methods in document["paths"].items() for operation in methods.values()]


async def test_every_status_that_an_error_can_have_is_in_it(document) -> None:
    passed_through = {status for statuses in PASSED_THROUGH.values() for status in statuses}
    for path in PATHS:
        documented = document["paths"][path]["post"]["responses"]
        assert {str(status) for status in {200, *STATUS.values(), *passed_through}} == set(documented)
    for path in MOUNTED:
        assert {"401", "402", "403", "429"} <= set(document["paths"][path]["post"]["responses"])


async def test_every_example_is_as_its_schema_says(document) -> None:
    seen = 0
    for _, operation in operations(document):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for media in (media for body in bodies for media in body.get("content", {}).values() if "example" in media):
            jsonschema.Draft202012Validator({**document, **media["schema"]}).validate(media["example"])
            seen += 1
    assert seen >= 14 * len(RERANK)


async def test_the_examples_are_requests_that_are_served(opened, upstream, document) -> None:
    upstream.reply_with(200, {"results": [{"index": 1, "relevance_score": 1}, {"index": 0, "relevance_score": 0}]}, {})
    gateway = await opened({"providers": {"cohere": {"base_url": upstream.url}}})
    for path in RERANK:
        example = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
        answer = await gateway.post(path, json={**example, "model": "cohere/m"})
        assert answer.status_code == 200, (path, answer.text)


async def test_every_header_of_an_answer_is_in_it(opened, upstream, document) -> None:
    limits = {"requests": "9/minute", "documents": "900/minute", "tokens": "90000/minute", "concurrency": 3}
    auth = {"keys": [{"name": "me", "hash": hash_of("k" * 40), "limits": limits}]}
    gateway = await opened({"providers": {"cohere": {"base_url": upstream.url}, "passthrough": {}}, "auth": auth})
    key = {"authorization": "Bearer " + "k" * 40, "x-gateway-traceparent": "true", "x-request-timeout-ms": "900"}
    body = {"model": "passthrough/order", "query": "q", "documents": ["a"]}
    answers = [await gateway.post("/v1/rerank", json=body, headers=key) for _ in range(10)]
    answers += [await gateway.post("/v1/rerank", json=body)]
    answers += [await gateway.post("/v1/rerank", json=body, headers={**key, "content-encoding": "br"})]
    assert {200, 401, 415, 429} == {answer.status_code for answer in answers}
    for answer in answers:
        described = document["paths"]["/v1/rerank"]["post"]["responses"][str(answer.status_code)]["headers"]
        assert set(answer.headers) - {"content-type", "content-length"} <= set(described), answer.status_code
    assert all(name.removeprefix("#/components/headers/") in document["components"]["headers"] for name in described)


async def test_every_header_that_a_request_may_have_is_in_it(document) -> None:
    wanted = {"x-request-id", "x-request-timeout-ms", "traceparent", "x-gateway-traceparent"}
    for path in RERANK:
        assert {each["name"] for each in document["paths"][path]["post"]["parameters"]} == wanted


async def test_all_extra_fields_are_in_it(document, embedded, gateway) -> None:
    described = document["components"]["schemas"]["ExtraFields"]["properties"]
    assert all(field.get("description") for field in described.values())
    example = document["paths"]["/v1/rerank"]["post"]["requestBody"]["content"]["application/json"]["example"]
    async with httpx.AsyncClient(trust_env=False) as client:
        local = (await client.post(f"{embedded}/v1/rerank", json=example, timeout=60)).json()
    assert {"compute_ms", "latency"} <= set(local["extra_fields"]) <= set(described)
    degraded = (await gateway.post("/v1/rerank", json={**LEAST, "model": "passthrough/order"})).json()
    assert {"degraded"} <= set(degraded["extra_fields"]) <= set(described)


OPEN = {"/livez", "/readyz", "/startupz", "/health", "/v1/cluster/auth"}


@pytest.mark.parametrize("keys", [True, False], ids=["with keys", "without"])
async def test_it_says_who_needs_a_key(opened, keys) -> None:
    auth = {"keys": [{"name": "me", "hash": hash_of("k" * 40)}]}
    gateway = await opened({"providers": {"passthrough": {}}, **({"auth": auth} if keys else {})})
    document = (await gateway.get("/openapi.json")).json()
    OpenAPIV31SpecValidator(document).validate()
    schemes = document["components"]["securitySchemes"]
    assert [set(each) for each in document["security"]] == ([{name} for name in schemes] if keys else [set()])
    for path, operation in operations(document):
        needs_key = {} not in operation.get("security", document["security"])
        assert needs_key is (keys and path not in OPEN), path
        url = path.replace("{model}", "m")
        answer = await (gateway.post(url, json={}) if path in RERANK else gateway.get(url))
        assert (answer.status_code == 401) is needs_key or (path, keys) == ("/v1/usage", False), path
        assert str(answer.status_code) in operation["responses"], (path, answer.status_code)


async def test_errors_of_ordinary_routes_are_as_it_says(gateway, document) -> None:
    for url, path in (("/v1/usage?first=x", "/v1/usage"), ("/v1/models/nope", "/v1/models/{model}")):
        answer = await gateway.get(url)
        shape = document["paths"][path]["get"]["responses"][str(answer.status_code)]["content"]["application/json"]
        assert shape["schema"] == {"$ref": "#/components/schemas/ErrorBody"}
        schema_of(document, "ErrorBody").validate(answer.json())


async def test_it_is_of_this_version(document) -> None:
    assert document["info"]["version"] == importlib.metadata.version("rerank-gateway")


async def test_its_paths_are_below_where_it_is_served(gateway, document) -> None:
    assert document["servers"] == [{"url": "."}]
    for path, place in (("/docs/openapi.json", "../openapi.json"), ("/docs/", "../docs")):
        answer = await gateway.get(path)
        assert (answer.status_code, answer.headers["location"]) == (308, place)


async def test_the_page_and_what_it_loads_are_of_the_gateway(gateway) -> None:
    page = await gateway.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'self';")
    places = re.findall(r"(?:src|href)=[\"']([^\"']+)", page.text)
    assert len(places) >= 4
    for place in places:
        assert not place.startswith("/"), "below a path of a proxy it would be missing"
        assert "://" not in place
        answer = await gateway.get(f"/{place}")
        assert (answer.status_code, len(answer.content) > 100) == (200, True), place


async def test_nothing_of_the_page_is_inline(gateway) -> None:
    page = (await gateway.get("/docs")).text
    assert re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL) == ["", ""]
    assert not re.search(r"<style|style=|\son\w+=|javascript:", page)


PINNED = json.loads((SWAGGER_UI / "integrity.json").read_text("utf-8"))["files"]


def sha512(content: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def test_what_is_vendored_is_what_is_pinned() -> None:
    there = {file.name: sha512(file.read_bytes()) for file in SWAGGER_UI.iterdir() if file.name != "integrity.json"}
    assert there == PINNED
    assert {"LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"} <= set(there)


def test_what_is_vendored_loads_nothing_from_elsewhere() -> None:
    css = (SWAGGER_UI / "swagger-ui.css").read_text("utf-8")
    assert re.findall(r"@import|url\((?![\"']?data:)", css) == []
    # The only address that it would ask by itself, for a badge; see tests/ui for what a browser does ask.
    assert "validatorUrl: null" in (FOLDER / "page/page.js").read_text("utf-8")


async def test_a_browser_is_told_the_pinned_hashes(gateway) -> None:
    page = (await gateway.get("/docs")).text
    told = dict(re.findall(r'docs-assets/([\w.-]+)" integrity="([^"]+)"', page))
    assert told == {name: PINNED[name] for name in ("swagger-ui.css", "swagger-ui-bundle.js")}
