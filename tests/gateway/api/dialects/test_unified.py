"""The unified dialect: one answer for every client, with no more in it than the request shows to be needed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.api.dialects.conftest import DOCUMENTS, ORDER, QUERY, SCORES, Ask, with_usage

PLAIN = {"id", "results", "model", "extra_fields"}
VOYAGE = PLAIN | {"data", "usage"}

KEYS: dict[str, tuple[str, dict[str, Any], dict[str, str], set[str]]] = {
    "plain": ("/v1/rerank", {}, {}, PLAIN),
    "plain at the root": ("/rerank", {"top_n": 2}, {}, PLAIN),
    "as Open WebUI asks": ("/v1/rerank", {"top_n": 3}, {"authorization": "Bearer k"}, PLAIN),
    "Cohere's v2 and the AI SDK": ("/v2/rerank", {}, {}, PLAIN | {"meta"}),
    "Cohere's Python 4": ("/v1/rerank", {"max_chunks_per_doc": None}, {}, PLAIN | {"meta"}),
    "voyageai for Python": ("/v1/rerank", {"top_k": None, "truncation": True}, {}, VOYAGE),
    "Dify's Voyage": ("/v1/rerank", {"top_k": None, "return_documents": True}, {}, VOYAGE),
    "voyageai for JavaScript": ("/v1/rerank", {}, {"user-agent": "voyageai/0.4.0"}, VOYAGE),
    "LiteLLM without a limit": ("/v1/rerank", {"return_documents": True}, {"user-agent": "litellm/1.106.2"}, VOYAGE),
    "LiteLLM with a limit": ("/rerank", {"top_n": 1}, {"user-agent": "litellm/1.106.2"}, PLAIN),
}


@pytest.mark.parametrize(("path", "fields", "headers", "keys"), KEYS.values(), ids=KEYS)
async def test_has_the_keys_that_its_client_reads(path, fields, headers, keys, ask: Ask) -> None:
    response = await ask(path, headers=headers, **fields)
    assert response.status_code == 200, response.text
    assert set(response.json()) == keys
    assert b"null" not in response.content


async def test_documents_are_objects_for_most_and_strings_for_voyage_s_clients(ask: Ask) -> None:
    answer = (await ask("/v1/rerank", top_k=2, return_documents=True)).json()
    assert [row["document"] for row in answer["results"]] == [{"text": "two words"}, {"text": "one of two"}]
    assert [row["document"] for row in answer["data"]] == ["two words", "one of two"]
    assert [row["index"] for row in answer["data"]] == [row["index"] for row in answer["results"]] == ORDER[:2]


async def test_the_total_that_voyage_s_clients_demand_is_0_where_nothing_counts(ask: Ask, upstream) -> None:
    assert (await ask("/v1/rerank", top_k=1)).json()["usage"] == {"total_tokens": 0}
    with_usage(upstream, usage={"total_tokens": 7})
    assert (await ask("/v1/rerank", top_k=1)).json()["usage"] == {"total_tokens": 7}


async def test_meta_tells_what_was_charged_and_invents_nothing(ask: Ask, upstream) -> None:
    version = {"version": "2"}
    assert (await ask("/v2/rerank")).json()["meta"] == {"api_version": version, "billed_units": {}}
    both = {"tokens": {"input_tokens": 5.0, "output_tokens": 0.0}, "billed_units": {"input_tokens": 7.0}}
    with_usage(upstream, meta=both)
    assert (await ask("/v2/rerank", model="counts/m")).json()["meta"] == {"api_version": version, **both}
    with_usage(upstream, meta={"billed_units": {"search_units": 1}})
    answer = await ask("/v2/rerank", model="counts/m")
    assert answer.json()["meta"] == {"api_version": version, "billed_units": {"search_units": 1.0}}


SPELT = {
    "true": ("true", True),
    "True": ("True", True),
    "false": ("false", False),
    "FALSE": ("FALSE", False),
    "null": (None, False),
}


@pytest.mark.parametrize(("written", "meant"), SPELT.values(), ids=SPELT)
async def test_return_documents_may_be_spelt_out(written, meant, ask: Ask) -> None:
    answer = (await ask("/v1/rerank", return_documents=written, return_len="true", kwargs="{}")).json()
    assert ("document" in answer["results"][0]) is meant


async def test_another_word_is_no_boolean(ask: Ask) -> None:
    response = await ask("/v1/rerank", return_documents="perhaps")
    assert response.status_code == 400
    assert "$.return_documents" in response.json()["message"]


class TestTexts:
    """`texts` in place of `documents` is a request to text-embeddings-inference."""

    async def test_gets_the_bare_list(self, ask: Ask) -> None:
        answer = await ask("/rerank", model=..., documents=..., texts=DOCUMENTS)
        expected = [{"index": index, "score": score} for index, score in zip(ORDER, SCORES, strict=True)]
        assert answer.json() == expected

    async def test_gets_its_texts_back(self, ask: Ask) -> None:
        answer = await ask("/v1/rerank", documents=..., texts=DOCUMENTS, return_text=True)
        assert [row["text"] for row in answer.json()] == [DOCUMENTS[index] for index in ORDER]

    async def test_goes_to_the_model_it_names_or_the_default(self, ask: Ask, upstream) -> None:
        await ask("/rerank", documents=..., texts=DOCUMENTS, model=...)
        await ask("/rerank", documents=..., texts=DOCUMENTS, model="texts/other")
        assert [asked.body["model"] for asked in upstream.requests] == ["default", "other"]

    async def test_is_refused_in_the_shape_that_all_clients_read(self, ask: Ask) -> None:
        response = await ask("/rerank", documents=..., texts=[])
        assert response.status_code == 400
        assert response.json()["error"] == response.json()["message"] == "`texts` cannot be empty"

    async def test_documents_win(self, ask: Ask) -> None:
        answer = await ask("/rerank", texts=["other"])
        assert len(answer.json()["results"]) == 3


async def test_without_a_default_and_with_several_names_a_model_is_asked_for(opened, upstream) -> None:
    vendor = {"adapter": "vllm", "base_url": upstream.url}
    names = {name: {"target": "v/m"} for name in ("a", "b")}
    client = await opened({"providers": {"v": vendor}, "models": names})
    response = await client.post("/rerank", json={"query": QUERY, "texts": DOCUMENTS})
    assert response.status_code == 400 or response.status_code == 422
    assert "default_model" in response.json()["message"]


async def test_the_only_name_is_the_default(opened, upstream) -> None:
    vendor = {"adapter": "vllm", "base_url": upstream.url}
    client = await opened({"providers": {"v": vendor}, "models": {"only": {"target": "v/m"}}})
    response = await client.post("/rerank", json={"query": QUERY, "texts": DOCUMENTS})
    assert response.status_code == 200
