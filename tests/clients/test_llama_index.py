"""LlamaIndex's postprocessors. They keep the documents themselves."""

from __future__ import annotations

import os
from typing import Any

import pytest
from cases import *  # noqa: F403  # the shared cases
from cases import DOCUMENTS, ORDER, QUERY, Client, Gateway, Row
from cohere.errors import BadRequestError, NotFoundError, UnauthorizedError
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.postprocessor.cohere_rerank import CohereRerank
from llama_index.postprocessor.jinaai_rerank import JinaRerank
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference
from llama_index.postprocessor.voyageai_rerank import VoyageAIRerank
from llama_index.postprocessor.xinference_rerank import XinferenceRerank
from voyageai.error import APIError, AuthenticationError, InvalidRequestError


def ranked(postprocessor: Any, query: str, top_n: int | None) -> list[Row]:
    postprocessor.top_n = top_n or len(DOCUMENTS)
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in DOCUMENTS]
    found = postprocessor.postprocess_nodes(nodes, QueryBundle(query))
    return [Row(DOCUMENTS.index(each.node.text), each.score, each.node.text) for each in found]


def cohere(gateway: Gateway, query: str, top_n: int | None, documents: bool) -> list[Row]:
    return ranked(gateway.run("llama-index-cohere", CohereRerank=CohereRerank)["postprocessor"], query, top_n)


def jina(gateway: Gateway, query: str, top_n: int | None, documents: bool) -> list[Row]:
    return ranked(gateway.run("llama-index-jinaai", JinaRerank=JinaRerank)["postprocessor"], query, top_n)


def voyage(gateway: Gateway, query: str, top_n: int | None, documents: bool) -> list[Row]:
    return ranked(gateway.run("llama-index-voyageai", VoyageAIRerank=VoyageAIRerank)["postprocessor"], query, top_n)


def tei(gateway: Gateway, query: str, top_n: int | None, documents: bool) -> list[Row]:
    names = gateway.run("llama-index-tei", TextEmbeddingInference=TextEmbeddingInference)
    return ranked(names["postprocessor"], query, top_n)


def tei_bare(gateway: Gateway, query: str, top_n: int | None, documents: bool) -> list[Row]:
    return ranked(TextEmbeddingInference(base_url=gateway.url, auth_token=f"bearer {gateway.key}"), query, top_n)


CLIENTS = {
    "CohereRerank": Client(cohere, NotFoundError, BadRequestError, UnauthorizedError),
    "JinaRerank": Client(jina, RuntimeError, RuntimeError, RuntimeError),
    "VoyageAIRerank": Client(voyage, APIError, InvalidRequestError, AuthenticationError),
    # This client never looks at the status: its own error is an assertion about what it read.
    "TextEmbeddingInference": Client(tei, AssertionError, AssertionError, AssertionError, says=False),
    "TextEmbeddingInference, no model": Client(tei_bare, None, AssertionError, AssertionError, says=False),
}


def test_xinference_works_where_no_key_is_asked_for() -> None:
    open_gateway = Gateway(os.environ["RERANK_GATEWAY_OPEN_URL"], "")
    names = open_gateway.run("llama-index-xinference", XinferenceRerank=XinferenceRerank)
    assert [row.index for row in ranked(names["postprocessor"], QUERY, 2)] == ORDER[:2]


def test_xinference_says_that_a_key_is_needed(gateway: Gateway) -> None:
    names = gateway.run("llama-index-xinference", XinferenceRerank=XinferenceRerank)
    with pytest.raises(Exception, match="key"):
        ranked(names["postprocessor"], QUERY, 2)
