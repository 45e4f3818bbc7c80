"""POST /v1/rerank, the way out: the exact shape of a ranking, through a gateway and a vendor on loopback."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from gateway.api.dialects.unified.dialect import PATHS

DOCUMENTS = [
    {"id": "a", "text": "Bifrost supports observability plugins like OTEL and Maxim."},
    {"id": "b", "text": "Bifrost can run in Kubernetes and ECS."},
    {"id": "c", "text": "Token counting is available at /v1/count_tokens."},
]
ASKED: dict[str, Any] = {
    "model": "cohere/rerank-v3.5",
    "query": "gateway observability",
    "top_n": 2,
    "return_documents": True,
    "documents": DOCUMENTS,
}
VENDOR = {
    "id": "upstream",
    "results": [
        {"index": 2, "relevance_score": 0.63},
        {"index": 0, "relevance_score": 0.98},
        {"index": 1, "relevance_score": 0.1},
    ],
    "meta": {"tokens": {"input_tokens": 52, "output_tokens": 0}},
}


@pytest.fixture
async def gateway(opened, upstream) -> httpx.AsyncClient:
    upstream.reply_with(200, VENDOR)
    vendor = {"adapter": "cohere", "base_url": upstream.url, "api_key": "k", "retry": {"retries": 0}}
    client: httpx.AsyncClient = await opened(
        {
            "providers": {"cohere": vendor, "second": vendor},
            "models": {"Org/our-best": {"target": "cohere/rerank-v3.5"}},
        }
    )
    return client


async def ask(gateway: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    body = {name: value for name, value in {**ASKED, **changes}.items() if value is not ...}
    response = await gateway.post("/v1/rerank", json=body)
    assert response.status_code == 200, response.text
    reply: dict[str, Any] = response.json()
    return reply


async def test_the_shape_is_that_of_the_contract_to_the_order_of_its_keys(gateway) -> None:
    response = await gateway.post("/v1/rerank", json=ASKED, headers={"x-request-id": "our-id"})
    text = re.sub(r'"latency":\d+', '"latency":245', response.text)
    assert text == (
        '{"id":"our-id","results":['
        '{"index":0,"relevance_score":0.98,"document":{"id":"a",'
        '"text":"Bifrost supports observability plugins like OTEL and Maxim."}},'
        '{"index":2,"relevance_score":0.63,"document":{"id":"c",'
        '"text":"Token counting is available at /v1/count_tokens."}}],'
        '"model":"rerank-v3.5",'
        '"usage":{"prompt_tokens":52,"completion_tokens":0,"total_tokens":52},'
        '"extra_fields":{"request_type":"rerank","provider":"cohere","latency":245,"chunk_index":0,'
        '"original_model_requested":"cohere/rerank-v3.5","score_space":"probability"}}'
    )
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"] == "our-id"


@pytest.mark.parametrize("path", [*PATHS, "/v1/rerank/"])
async def test_every_path_serves_the_same(gateway, path) -> None:
    reply = (await gateway.post(path, json=ASKED)).json()
    assert [row["index"] for row in reply["results"]] == [0, 2]


@pytest.mark.parametrize("media_type", ["application/json", "application/x-www-form-urlencoded", "text/plain", ""])
async def test_the_content_type_does_not_matter(gateway, media_type) -> None:
    content = httpx.Request("POST", "http://x", json=ASKED).content
    assert (await gateway.post("/v1/rerank", content=content, headers={"content-type": media_type})).status_code == 200


ECHOES: dict[str, tuple[Any, Any]] = {
    "text": ("hello", {"text": "hello"}),
    "an object": ({"text": "t"}, {"text": "t"}),
    "id and meta": ({"meta": {"k": [1]}, "id": "x", "text": "t"}, {"id": "x", "text": "t", "meta": {"k": [1]}}),
    "an id that is a number": ({"id": 0, "text": "t"}, {"id": 0, "text": "t"}),
    "what is not of the contract": ({"text": "t", "score": 3}, {"text": "t"}),
    "structured data": ({"Title": "T", "N": 1}, {"text": "Title: T\nN: 1\n"}),
    "structured data with an id of its own": ({"id": "d1", "Title": "T"}, {"text": "id: d1\nTitle: T\n"}),
    "data that is one field of a record": (
        {"id": "d1", "data": {"a": 1}, "title": "T"},
        {"text": "id: d1\ndata:\n  a: 1\ntitle: T\n"},
    ),
    "data that is no record": ({"id": "d1", "data": "a"}, {"text": "id: d1\ndata: a\n"}),
    "data beside a text": (
        {"id": "d1", "text": "t", "data": {"a": 1}},
        {"id": "d1", "text": "t", "data": {"a": 1}},
    ),
}


@pytest.mark.parametrize(("document", "echo"), ECHOES.values(), ids=ECHOES)
async def test_a_document_comes_back_as_the_caller_gave_it(gateway, upstream, document, echo) -> None:
    upstream.reply_with(
        200, {"results": [{"index": 0, "relevance_score": 1, "document": {"text": "the vendor's own"}}]}
    )
    reply = await ask(gateway, documents=[document])
    assert reply["results"] == [{"index": 0, "relevance_score": 1.0, "document": echo}]
    assert list(reply["results"][0]["document"]) == list(echo)


URL = "https://img.example/b.png"
IMAGE = {"type": "image_url", "image_url": {"url": URL}}
CAPTION = {"type": "text", "text": "caption"}
PICTURES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a picture": ({"image": URL}, {"content": [IMAGE]}),
    "with an id": ({"id": 7, "image": URL}, {"id": 7, "content": [IMAGE]}),
    "with all": (
        {"id": "p2", "text": "caption", "image": URL, "meta": {"k": 2}},
        {"id": "p2", "text": "caption", "meta": {"k": 2}, "content": [CAPTION, IMAGE]},
    ),
    "content parts": ({"content": [IMAGE]}, {"content": [IMAGE]}),
    "content parts with an id": (
        {"content": [CAPTION, IMAGE], "id": "c", "meta": 1},
        {"id": "c", "meta": 1, "content": [CAPTION, IMAGE]},
    ),
    "content parts beside a text": (
        {"id": "c", "text": "caption", "content": [IMAGE]},
        {"id": "c", "text": "caption", "content": [CAPTION, IMAGE]},
    ),
}


@pytest.mark.parametrize(("document", "echo"), PICTURES.values(), ids=PICTURES)
async def test_pictures_come_back_with_what_is_beside_them(opened, upstream, document, echo) -> None:
    upstream.reply_with(200, {"results": [{"index": 0, "relevance_score": 1}]})
    vendor = {"adapter": "vllm", "base_url": upstream.url, "capabilities": {"*": {"multimodal": True}}}
    reply = await ask(await opened({"providers": {"vllm": vendor}}), model="vllm/m", documents=[document])
    assert reply["results"] == [{"index": 0, "relevance_score": 1.0, "document": echo}]


DATA: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "an id": ({"id": "d1", "data": {"title": "T", "n": 1}}, {"id": "d1"}),
    "nothing beside it": ({"data": {"title": "T", "n": 1}}, {}),
    "all": ({"data": {"title": "T", "n": 1}, "meta": {"k": 2}, "score": 0.5, "id": 7}, {"id": 7, "meta": {"k": 2}}),
    "a null text": ({"id": "d1", "text": None, "data": {"title": "T", "n": 1}}, {"id": "d1"}),
    "an empty text": ({"id": "d1", "text": "", "data": {"title": "T", "n": 1}}, {"id": "d1"}),
}


@pytest.mark.parametrize(("document", "beside"), DATA.values(), ids=DATA)
async def test_data_is_the_record_and_what_is_beside_it_comes_back(gateway, upstream, document, beside) -> None:
    upstream.reply_with(200, {"results": [{"index": 0, "relevance_score": 1}]})
    reply = await ask(gateway, documents=[document])
    assert upstream.requests[-1].body["documents"] == ["title: T\nn: 1\n"]
    (row,) = reply["results"]
    assert row["document"] == {**beside, "text": "title: T\nn: 1\n", "data": {"title": "T", "n": 1}}
    assert row.get("id") == beside.get("id")


async def test_ids_of_data_come_back_without_the_documents(gateway, upstream) -> None:
    upstream.reply_with(200, VENDOR)
    documents = [{"id": "d0", "data": {"n": 0}}, {"id": "d1", "text": "t"}, {"id": "d2", "data": {"n": 2}}]
    reply = await ask(gateway, documents=documents, return_documents=False, top_n=None)
    assert reply["results"] == [
        {"index": 0, "relevance_score": 0.98, "id": "d0"},
        {"index": 2, "relevance_score": 0.63, "id": "d2"},
        {"index": 1, "relevance_score": 0.1},
    ]


@pytest.mark.parametrize("wish", [False, None, ...])
async def test_no_document_comes_back_unless_asked_for(gateway, wish) -> None:
    reply = await ask(gateway, return_documents=wish)
    assert all(set(row) == {"index", "relevance_score"} for row in reply["results"])


USAGES: dict[str, tuple[dict[str, Any], Any]] = {
    "unknown": ({}, None),
    "tokens": (
        {"meta": {"tokens": {"input_tokens": 5, "output_tokens": 0}}},
        {"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5},
    ),
    "no output counted": ({"meta": {"tokens": {"input_tokens": 5}}}, {"prompt_tokens": 5, "total_tokens": 5}),
    "tokens billed apart from those used": (
        {"meta": {"tokens": {"input_tokens": 5, "output_tokens": 0}, "billed_units": {"input_tokens": 7}}},
        {"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5, "billed_tokens": 7},
    ),
    "searches billed, and no token": (
        {"meta": {"tokens": {"input_tokens": 5}, "billed_units": {"search_units": 1, "input_tokens": 0}}},
        {"prompt_tokens": 5, "total_tokens": 5, "search_units": 1.0},
    ),
    "search units only": ({"meta": {"billed_units": {"search_units": 1}}}, {"search_units": 1.0}),
}


@pytest.mark.parametrize(("meta", "usage"), USAGES.values(), ids=USAGES)
async def test_usage_is_what_was_counted(gateway, upstream, meta, usage) -> None:
    upstream.reply_with(200, {**VENDOR, "meta": None, **meta})
    assert (await ask(gateway)).get("usage") == usage


@pytest.mark.parametrize(("top_n", "count"), [(1, 1), (2, 2), (3, 3), (99, 3), (None, 3)])
async def test_top_n_is_cut_here_even_if_the_vendor_does_not(gateway, top_n, count) -> None:
    assert len((await ask(gateway, top_n=top_n))["results"]) == count


async def test_equal_scores_keep_the_order_of_the_documents(gateway, upstream) -> None:
    upstream.reply_with(200, {"results": [{"index": index, "relevance_score": 0.5} for index in (2, 0, 1)]})
    assert [row["index"] for row in (await ask(gateway, top_n=None))["results"]] == [0, 1, 2]


async def test_a_vendor_that_gives_fewer_results_than_asked_for_is_believed(gateway, upstream) -> None:
    upstream.reply_with(200, {"results": [{"index": 1, "relevance_score": 0.5}]})
    assert [row["index"] for row in (await ask(gateway))["results"]] == [1]


async def test_an_alias_answers_under_its_own_name(gateway, upstream) -> None:
    reply = await ask(gateway, model="Org/our-best")
    assert reply["model"] == "Org/our-best"
    assert reply["extra_fields"]["provider"] == "cohere"
    assert reply["extra_fields"]["original_model_requested"] == "Org/our-best"
    assert upstream.requests[0].body["model"] == "rerank-v3.5"


async def test_a_model_may_hold_slashes(gateway, upstream) -> None:
    reply = await ask(gateway, model="second/BAAI/bge/v2")
    assert (reply["model"], reply["extra_fields"]["provider"]) == ("BAAI/bge/v2", "second")
    assert upstream.requests[0].body["model"] == "BAAI/bge/v2"


async def test_attempts_show_when_more_than_one_was_needed(gateway, upstream) -> None:
    answers = [(503, {"message": "busy"}, {}), (200, VENDOR, {})]
    upstream.behaviour = lambda asked: answers[len(upstream.requests) - 1]
    reply = await ask(gateway, fallbacks=["second/m"])
    attempts = [
        {name: value for name, value in row.items() if name != "latency"} for row in reply["extra_fields"]["attempts"]
    ]
    assert attempts == [
        {
            "provider": "cohere",
            "model": "rerank-v3.5",
            "status": 503,
            "error": 'provider "cohere" failed with status 503 Service Unavailable: busy',
        },
        {"provider": "second", "model": "m", "status": 200},
    ]
    assert reply["extra_fields"]["provider"] == "second"
    assert reply["extra_fields"]["original_model_requested"] == "cohere/rerank-v3.5"
    assert all(isinstance(row["latency"], int) and row["latency"] >= 0 for row in reply["extra_fields"]["attempts"])


class TestRequestId:
    @pytest.mark.parametrize("given", ["abc-123", "a" * 128, "trace:1/2+3=4@x_y.z"])
    async def test_a_sane_one_is_kept_and_sent_upstream(self, gateway, upstream, given) -> None:
        response = await gateway.post("/v1/rerank", json=ASKED, headers={"x-request-id": given})
        assert (response.headers["x-request-id"], response.json()["id"]) == (given, given)
        assert upstream.requests[0].headers["x-request-id"] == given

    @pytest.mark.parametrize("given", ["", "a" * 129, "a b", "a\tb", "é", "a;b", None])
    async def test_any_other_is_replaced(self, gateway, upstream, given) -> None:
        headers = {} if given is None else {"x-request-id": given.encode()}
        response = await gateway.post("/v1/rerank", json=ASKED, headers=headers)
        made = response.headers["x-request-id"]
        assert re.fullmatch(r"[0-9a-f]{32}", made)
        assert (response.json()["id"], upstream.requests[0].headers["x-request-id"]) == (made, made)

    async def test_two_requests_have_two(self, gateway) -> None:
        one, two = [await gateway.post("/v1/rerank", json=ASKED) for _ in range(2)]
        assert one.json()["id"] != two.json()["id"]


async def test_the_vendor_gets_the_gateways_key_and_never_the_callers(gateway, upstream) -> None:
    await gateway.post("/v1/rerank", json=ASKED, headers={"authorization": "Bearer callers", "cookie": "a=b"})
    assert upstream.requests[0].headers["authorization"] == "Bearer k"
    assert "cookie" not in upstream.requests[0].headers
    assert upstream.requests[0].path == "/v2/rerank"
    assert upstream.requests[0].body == {
        "model": "rerank-v3.5",
        "query": "gateway observability",
        "documents": [document["text"] for document in DOCUMENTS],
        "top_n": 2,
    }
