"""LangChain's community package: Jina and Infinity, and the Infinity client itself."""

from __future__ import annotations

import infinity_client
from cases import *  # noqa: F403  # the shared cases
from cases import DOCUMENTS, QUERY, Client, Gateway, Row
from infinity_client.api.default import rerank
from infinity_client.models import HTTPValidationError, RerankInput
from langchain_community.document_compressors import InfinityRerank, JinaRerank, jina_rerank
from langchain_core.documents import Document

TEXTS = [Document(page_content=text) for text in DOCUMENTS]


def rows(found: list[Document]) -> list[Row]:
    return [
        Row(DOCUMENTS.index(each.page_content), each.metadata["relevance_score"], each.page_content) for each in found
    ]


def jina(gateway: Gateway, query: str, top_n: int | None, documents: bool) -> list[Row]:
    compressor = gateway.run("langchain-jina", jina_rerank=jina_rerank, JinaRerank=JinaRerank)["compressor"]
    compressor.top_n = top_n
    return rows(compressor.compress_documents(TEXTS, query))


def infinity(gateway: Gateway, query: str, top_n: int | None, documents: bool) -> list[Row]:
    names = gateway.run("langchain-infinity", InfinityRerank=InfinityRerank, infinity_client=infinity_client)
    compressor = names["compressor"]
    compressor.top_n = top_n
    return rows(compressor.compress_documents(TEXTS, query))


CLIENTS = {
    "JinaRerank": Client(jina, RuntimeError, RuntimeError, RuntimeError),
    # Its client turns every error but a 422 into None and this class looks at neither, so it stumbles over both, as it
    # does with Infinity itself.
    "InfinityRerank": Client(infinity, TypeError, KeyError, TypeError, says=False),
}


def test_the_infinity_client_reads_a_refusal(gateway: Gateway) -> None:
    client = gateway.run("infinity", infinity_client=infinity_client)["client"]
    answer = rerank.sync(client=client, body=RerankInput(query="", documents=DOCUMENTS, model=gateway.model))
    assert isinstance(answer, HTTPValidationError)
    assert answer.detail[0].loc == ["body", "query"]


def test_the_infinity_client_reads_a_ranking(gateway: Gateway) -> None:
    client = gateway.run("infinity", infinity_client=infinity_client)["client"]
    asked = RerankInput(query=QUERY, documents=DOCUMENTS, model=gateway.model, return_documents=True)
    answer = rerank.sync(client=client, body=asked)
    assert answer.results[0].document == DOCUMENTS[2]
    assert answer.usage.total_tokens > 0
