"""The score API: shapes, field pairs, and what each kind of target does with pairs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gateway.api.dialects.conftest import with_usage

IMAGE = {"type": "image_url", "image_url": {"url": "https://img.example/a.png"}}
OTHER = {"type": "image_url", "image_url": {"url": "https://img.example/b.png"}}


def scored(asked: Any) -> tuple[int, Any, dict[str, str]]:
    """A vLLM: the score is the place, in falling order, so that the order of the answer tells."""
    count = len(asked.body["text_2"])
    rows = [{"index": index, "object": "score", "score": index / 10} for index in reversed(range(count))]
    return 200, {"id": "score-upstream", "data": rows, "usage": {"prompt_tokens": 5, "total_tokens": 5}}, {}


PAIRS = {
    "queries and documents": ("queries", "documents"),
    "queries and items": ("queries", "items"),
    "data": ("data_1", "data_2"),
    "text": ("text_1", "text_2"),
}
SHAPES: dict[str, tuple[Any, Any, Any, list[str]]] = {
    "one and one": ("q", "a", "q", ["a"]),
    "one and several": ("q", ["a", "b"], "q", ["a", "b"]),
    "a list of one and several": (["q"], ["a", "b"], "q", ["a", "b"]),
    "as many": (["q", "r"], ["a", "b"], ["q", "r"], ["a", "b"]),
}


@pytest.mark.parametrize("path", ["/score", "/v1/score", "/vllm/score", "/vllm/v1/score"])
@pytest.mark.parametrize(("first", "second"), PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize(("queries", "documents", "text_1", "text_2"), SHAPES.values(), ids=SHAPES)
async def test_a_vllm_scores_them_itself(
    path, first, second, queries, documents, text_1, text_2, gateway, upstream
) -> None:
    upstream.behaviour = scored
    response = await gateway.post(
        path, json={"model": "parts/m", first: queries, second: documents}, headers={"x-request-id": "our-id"}
    )
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer.pop("created") > 1_700_000_000
    assert answer == {
        "id": "score-our-id",
        "object": "list",
        "model": "m",
        "data": [{"index": index, "object": "score", "score": index / 10} for index in range(len(text_2))],
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
    }
    asked = upstream.requests[0]
    assert (asked.path, asked.body["text_1"], asked.body["text_2"]) == ("/v1/score", text_1, text_2)


async def test_its_options_reach_a_vllm(gateway, upstream) -> None:
    upstream.behaviour = scored
    fields = {"truncate_prompt_tokens": 64, "use_activation": False}
    await gateway.post("/score", json={"model": "parts/m", "text_1": "q", "text_2": "a", **fields, "unknown": 1})
    assert upstream.requests[0].body.items() >= fields.items()
    assert "unknown" not in upstream.requests[0].body


async def test_another_upstream_scores_one_query_by_its_rerank_api_in_the_order_asked(gateway, upstream) -> None:
    with_usage(upstream, usage={"total_tokens": 5})
    body = {"model": "texts/m", "text_1": "two words", "text_2": ["nothing", "two words", "one of two"]}
    answer = (await gateway.post("/v1/score", json=body)).json()
    assert upstream.requests[0].path == "/v1/rerank"
    assert [(row["index"], row["score"]) for row in answer["data"]] == [(0, 0.0), (1, 2 / 3), (2, 1 / 4)]
    assert answer["usage"] == {"prompt_tokens": 5, "total_tokens": 5}


async def test_and_says_that_it_cannot_score_pairs(gateway, upstream) -> None:
    response = await gateway.post("/score", json={"model": "texts/m", "text_1": ["q", "r"], "text_2": ["a", "b"]})
    assert response.status_code == 400
    assert response.json()["error"]["message"] == (
        'provider "texts" scores one query at a time; send one query with its documents per request'
    )
    assert not upstream.requests


async def test_a_score_that_is_missing_is_an_upstream_s_fault(gateway, upstream) -> None:
    upstream.reply_with(200, {"results": [{"index": 0, "relevance_score": 0.5}]})
    response = await gateway.post("/score", json={"model": "texts/m", "text_1": "q", "text_2": ["a", "b"]})
    assert response.status_code == 502
    assert "1 scores for 2 pairs" in response.json()["error"]["message"]


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no pair": ({"text_1": "q"}, "Bad Request", "exactly one pair"),
    "two pairs": ({"text_1": "q", "text_2": "a", "data_1": "q", "data_2": "a"}, "Bad Request", "exactly one pair"),
    "halves of two pairs": ({"text_1": "q", "data_2": "a"}, "Bad Request", "exactly one pair"),
    "lengths": ({"text_1": ["q", "r"], "text_2": ["a"]}, "BadRequestError", "must be either 1:1, 1:N or N:N"),
    "several to one": ({"text_1": ["q", "r", "s"], "text_2": "a"}, "BadRequestError", "1:1, 1:N or N:N"),
    "no query": ({"text_1": [], "text_2": "a"}, "BadRequestError", "At least one text element"),
    "no document": ({"text_1": "q", "text_2": []}, "BadRequestError", "At least one text_pair element"),
    "a blank query": ({"text_1": ["q", " "], "text_2": ["a", "b"]}, "BadRequestError", "query at index 1"),
    "a blank document": ({"text_1": "q", "text_2": ["a", ""]}, "BadRequestError", "document at index 1"),
    "a number": ({"text_1": 1, "text_2": "a"}, "Bad Request", "$.text_1"),
}


@pytest.mark.parametrize(("sides", "kind", "part"), WRONG.values(), ids=WRONG)
async def test_what_is_wrong_is_said_as_vllm_says_it(sides, kind, part, gateway, upstream) -> None:
    response = await gateway.post("/v1/score", json={"model": "parts/m", **sides})
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["code"]) == (400, kind, 400)
    assert part in error["message"]
    assert not upstream.requests


async def test_an_unknown_model_is_404(gateway) -> None:
    response = await gateway.post("/score", json={"model": "nope/m", "text_1": "q", "text_2": "a"})
    assert (response.status_code, response.json()["error"]["type"]) == (404, "NotFoundError")


MULTIMODAL: dict[str, tuple[Any, list[Any]]] = {
    "images of one object are documents, as in vLLM's example": (
        {"content": [IMAGE, OTHER]},
        [{"content": [IMAGE]}, {"content": [OTHER]}],
    ),
    "with text among them it is one": (
        {"content": [IMAGE, {"type": "text", "text": "a cat"}]},
        [{"content": [IMAGE, {"type": "text", "text": "a cat"}]}],
    ),
    "in a list each object is one": ([{"content": [IMAGE, OTHER]}, "text"], [{"content": [IMAGE, OTHER]}, "text"]),
}


@pytest.mark.parametrize(("documents", "sent"), MULTIMODAL.values(), ids=MULTIMODAL)
async def test_content_parts_go_to_a_model_that_reads_them(documents, sent, gateway, upstream) -> None:
    upstream.behaviour = scored
    body = {"model": "parts/m", "text_1": "slm markdown", "text_2": documents}
    answer = (await gateway.post("/v1/score", json=body)).json()
    assert upstream.requests[0].body["text_2"] == sent
    assert [row["index"] for row in answer["data"]] == list(range(len(sent)))


@pytest.mark.parametrize("side", ["queries", "documents"])
async def test_and_are_refused_by_one_that_reads_text(side, gateway, upstream) -> None:
    body = {"model": "texts/m", "queries": "q", "documents": "a", side: {"content": [IMAGE]}}
    response = await gateway.post("/v1/score", json=body)
    assert response.status_code == 400
    assert "text only" in response.json()["error"]["message"]
    assert not upstream.requests


async def test_a_score_url_stands_beside_the_configured_endpoint(opened, upstream) -> None:
    upstream.behaviour = scored
    vendor = {"adapter": "vllm", "base_url": f"{upstream.url}/prefix/rerank"}
    client = await opened({"providers": {"v": vendor}})
    await client.post("/score", content=json.dumps({"model": "v/m", "text_1": "q", "text_2": "a"}))
    assert upstream.requests[0].path == "/prefix/score"
