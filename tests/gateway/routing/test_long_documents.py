"""Long documents through the whole gateway: what is sent, and what the caller is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from gateway.config.loader import from_tree
from gateway.errors import ConfigError
from providers.testing.upstream import ReceivedRequest, Reply, rank_by_words

LONG = "red apples and green pears. " * 40
BODY = {"query": "red apples", "documents": ["a green pear", LONG, "red apples"]}


def provider(url: str, **known: Any) -> dict[str, Any]:
    return {"adapter": "cohere-v1", "api_key": "k", "base_url": url, "capabilities": {"*": known}}


def refuses_long(request: ReceivedRequest) -> Reply:
    if max(map(len, request.body["documents"])) > 200:
        return Reply(400, {"message": "This model's maximum context length is 200 tokens. You requested 700 tokens."})
    return rank_by_words(request)


async def test_a_server_s_too_long_is_answered_by_one_more_call(opened, upstream) -> None:
    upstream.behaviour = refuses_long
    client = await opened({"providers": {"one": provider(upstream.url, long_documents="truncate")}})
    answer = await client.post("/v1/rerank", json={**BODY, "model": "one/m"})
    assert answer.status_code == 200, answer.text
    first, second = upstream.requests
    assert first.body["documents"] == BODY["documents"]
    assert len(second.body["documents"][1]) < 200
    shown = answer.json()["extra_fields"]
    assert shown["truncated"] == [{"index": 1, "characters": len(LONG), "kept": len(second.body["documents"][1])}]
    assert [attempt["status"] for attempt in shown["attempts"]] == [400, 200]


async def test_without_a_wish_the_refusal_stays(opened, upstream) -> None:
    upstream.behaviour = refuses_long
    client = await opened({"providers": {"one": provider(upstream.url)}})
    answer = await client.post("/v1/rerank", json={**BODY, "model": "one/m"})
    assert (answer.status_code, len(upstream.requests)) == (400, 1)


async def test_windows_may_need_several_calls(opened, upstream) -> None:
    limits = {"documents": 4, "tokens_per_document": 60}
    known = {"long_documents": "chunk_max", "scoring": "pointwise", "limits": limits}
    client = await opened({"providers": {"one": provider(upstream.url, **known)}})
    answer = await client.post("/v1/rerank", json={**BODY, "model": "one/m", "top_n": 2, "return_documents": True})
    assert answer.status_code == 200, answer.text
    assert len(upstream.requests) > 4
    assert max(len(text) for request in upstream.requests for text in request.body["documents"]) < 60
    results = answer.json()["results"]
    assert [row["index"] for row in results] == [2, 1]
    assert results[1]["document"]["text"] == LONG, "the caller's own document comes back"
    (attempt,) = answer.json()["extra_fields"]["attempts"]
    assert len(attempt["parts"]) == len(upstream.requests)


async def test_a_tokenizer_beside_the_configuration(opened, upstream, tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    client = await opened({"providers": {"one": provider(upstream.url, tokenizer=str(tmp_path))}})
    await client.post("/v1/rerank", json={**BODY, "model": "one/m", "max_tokens_per_doc": 5})
    assert upstream.requests[0].body["documents"][1] == "red apples and green pears."


async def test_a_server_that_cuts_by_itself_is_asked_how_much_it_reads(opened, upstream) -> None:
    def serve(request: ReceivedRequest) -> Reply:
        if request.method == "GET":
            return Reply(200, {"max_client_batch_size": 256, "max_input_length": 128})
        return Reply(200, [{"index": place, "score": 0.5} for place in range(len(request.body["texts"]))])

    upstream.behaviour = serve
    tei = {"base_url": upstream.url, "capabilities": {"*": {"long_documents": "chunk_max"}}}
    answer = await (await opened({"providers": {"tei": tei}})).post("/v1/rerank", json={**BODY, "model": "tei/m"})
    assert answer.status_code == 200, answer.text
    info, call = upstream.requests
    assert (info.path, call.path) == ("/info", "/rerank")
    assert max(map(len, call.body["texts"])) < 128
    assert "".join(call.body["texts"]) == "a green pear" + LONG + "red apples"


WRONG = {
    "no such folder": ("cohere-v1", {"tokenizer": "./no/such"}, "neither a file nor a folder"),
    "a word that is none": ("cohere-v1", {"long_documents": "cut"}, "truncate"),
    "an error of which nobody knows when": ("cohere-v1", {"long_documents": "error"}, "needs a tokenizer"),
    "not over HTTP": ("passthrough", {"long_documents": "error"}, "only for a provider behind HTTP"),
}


@pytest.mark.parametrize(("adapter", "known", "says"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_its_place(adapter: str, known: dict[str, Any], says: str) -> None:
    key = {} if adapter == "passthrough" else {"api_key": "k"}
    with pytest.raises(ConfigError, match=says):
        from_tree({"providers": {"one": {"adapter": adapter, "capabilities": {"*": known}, **key}}})
