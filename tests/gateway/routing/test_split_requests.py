"""Requests that are more than one call of a provider takes, through the whole gateway."""

from __future__ import annotations

from typing import Any

import pytest

from providers.testing import ScriptedUpstream
from providers.testing.upstream import ReceivedRequest, Reply, rank_by_words

TEXTS = [f"document {index}" for index in range(10)]


def provider(upstream: ScriptedUpstream, documents: int = 4, scoring: str = "pointwise", **more: Any) -> dict[str, Any]:
    known = {"*": {"scoring": scoring, "limits": {"documents": documents}}}
    return {"adapter": "cohere", "api_key": "k", "base_url": upstream.url, "capabilities": known, **more}


def body(model: str = "one/m", **more: Any) -> dict[str, Any]:
    return {"model": model, "query": "q", "documents": TEXTS, **more}


def sizes(upstream: ScriptedUpstream) -> list[int]:
    return sorted((len(request.body["documents"]) for request in upstream.requests), reverse=True)


async def test_one_answer_tells_of_its_parts(opened, upstream) -> None:
    upstream.behave("ranks")
    client = await opened({"providers": {"one": provider(upstream)}})
    whole = await (await opened({"providers": {"one": provider(upstream, 10)}})).post("/v1/rerank", json=body())
    upstream.requests.clear()
    answer = await client.post("/v1/rerank", json=body(top_n=3, return_documents=True))
    assert answer.status_code == 200, answer.text
    assert sizes(upstream) == [4, 4, 2]
    assert all(request.body["top_n"] == min(3, len(request.body["documents"])) for request in upstream.requests)
    results = answer.json()["results"]
    assert len(results) == 3
    assert all(row["document"]["text"] == TEXTS[row["index"]] for row in results)
    assert len(whole.json()["results"]) == 10
    (attempt,) = answer.json()["extra_fields"]["attempts"]
    assert [part["documents"] for part in attempt["parts"]] == [4, 4, 2]
    assert answer.headers["x-gateway-attempts"] == "1"


async def test_listwise_models_leave_the_whole_list_to_the_next_target(opened, upstream, upstreams) -> None:
    other = upstreams()
    other.behave("ranks")
    tree = {
        "providers": {"one": provider(upstream, scoring="listwise"), "two": provider(other, 10, "listwise")},
        "models": {"search": {"target": "one/m", "fallbacks": ["two/m"]}},
    }
    client = await opened(tree)
    answer = await client.post("/v1/rerank", json=body("search"))
    assert (answer.status_code, answer.json()["extra_fields"]["provider"]) == (200, "two")
    assert (sizes(upstream), sizes(other)) == ([], [10])
    alone = await client.post("/v1/rerank", json=body())
    assert (alone.status_code, alone.json()["error_type"]) == (413, "upstream_rejected")
    assert "at most 4 documents per call, this one has 10" in alone.json()["message"]


async def test_never_a_mixture_of_two_models(opened, upstream, upstreams) -> None:
    other = upstreams()
    other.behave("ranks")
    upstream.behaviour = lambda request: (
        Reply(503, b"") if "document 9" in request.body["documents"] else rank_by_words(request)
    )
    tree = {
        "providers": {"one": provider(upstream, retry={"retries": 0}), "two": provider(other, 3)},
        "models": {"search": {"target": "one/m", "fallbacks": ["two/m"]}},
    }
    answer = await (await opened(tree)).post("/v1/rerank", json=body("search"))
    assert (answer.status_code, answer.json()["extra_fields"]["provider"]) == (200, "two")
    assert sizes(other) == [3, 3, 3, 1]
    first, second = answer.json()["extra_fields"]["attempts"]
    assert (first["status"], second["status"]) == (503, 200)
    assert len(second["parts"]) == 4


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (413, "Payload Too Large"),
        (422, "batch size 10 > maximum allowed batch size 4"),
        (400, "at most 4 documents are allowed per request"),
    ],
)
async def test_what_a_server_says_of_its_limit_is_kept(opened, upstream, status: int, sentence: str) -> None:
    upstream.behaviour = lambda request: (
        Reply(status, {"message": sentence}) if len(request.body["documents"]) > 5 else rank_by_words(request)
    )
    client = await opened({"providers": {"one": provider(upstream, 100)}})
    answer = await client.post("/v1/rerank", json=body())
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["results"]) == 10
    assert sizes(upstream)[0] == 10
    assert max(sizes(upstream)[1:]) <= 5


INFO = {"model_id": "m", "max_client_batch_size": 6, "max_input_length": 512, "max_batch_tokens": 16384}
ASKED: dict[str, tuple[Reply, dict[str, Any], list[int], int]] = {
    "it takes more than is usual": (Reply(200, {**INFO, "max_client_batch_size": 64}), {}, [40], 1),
    "it takes less": (Reply(200, INFO), {}, [6] * 6 + [4], 1),
    "it does not tell": (Reply(404, b""), {}, [32, 8], 1),
    "it tells something else": (Reply(200, b"hello"), {}, [32, 8], 1),
    "it tells JSON that is too deep": (
        Reply(200, b'{"max_client_batch_size":64,"x":' + b"[" * 5000 + b"]" * 5000 + b"}"),
        {},
        [32, 8],
        1,
    ),
    "it tells too much": (Reply(200, {**INFO, "x": "x" * 65536}), {}, [32, 8], 1),
    "it tells null": (Reply(200, {"max_client_batch_size": None}), {}, [32, 8], 1),
    "it tells nonsense": (Reply(200, {"max_client_batch_size": 0}), {}, [32, 8], 1),
    "the operator knows better": (Reply(200, INFO), {"*": {"limits": {"documents": 20}}}, [20, 20], 1),
}


@pytest.mark.parametrize(("told", "known", "sizes", "questions"), ASKED.values(), ids=ASKED)
async def test_a_server_is_asked_for_its_limits_when_a_request_is_over_them(
    opened, upstream, told: Reply, known: dict[str, Any], sizes: list[int], questions: int
) -> None:
    def serve(request: ReceivedRequest) -> Reply:
        if request.method == "GET":
            return told
        return Reply(200, [{"index": index, "score": 0.5} for index in range(len(request.body["texts"]))])

    upstream.behaviour = serve
    tei = {"base_url": f"{upstream.url}/prefix", "api_key": "secret", "capabilities": known}
    client = await opened({"providers": {"tei": tei}})
    few = await client.post("/v1/rerank", json={"model": "tei/m", "query": "q", "documents": ["a"] * 5})
    assert (few.status_code, len(upstream.requests)) == (200, 1), "nothing is asked for a request within the limits"
    for _ in range(2):
        upstream.requests, asked = [], upstream.requests
        answer = await client.post("/v1/rerank", json={"model": "tei/m", "query": "q", "documents": ["a"] * 40})
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["results"]) == 40
        calls = [request for request in upstream.requests if request.method == "POST"]
        assert sorted((len(call.body["texts"]) for call in calls), reverse=True) == sizes
        asked += upstream.requests
    info = [request for request in asked if request.method == "GET"]
    assert len(info) <= questions
    assert all((each.path, each.headers["authorization"]) == ("/prefix/info", "Bearer secret") for each in info)
