"""LangChain's Voyage package."""

from __future__ import annotations

from cases import *  # noqa: F403  # the shared cases
from cases import DOCUMENTS, Client, Gateway, Row
from langchain_core.documents import Document
from langchain_voyageai import VoyageAIRerank
from voyageai.error import APIError, AuthenticationError, InvalidRequestError


def rank(gateway: Gateway, query: str, top_n: int | None, documents: bool) -> list[Row]:
    compressor = gateway.run("langchain-voyageai", VoyageAIRerank=VoyageAIRerank)["compressor"]
    compressor.top_k = top_n
    found = compressor.compress_documents([Document(page_content=text) for text in DOCUMENTS], query)
    return [
        Row(DOCUMENTS.index(each.page_content), each.metadata["relevance_score"], each.page_content) for each in found
    ]


CLIENTS = {"VoyageAIRerank": Client(rank, APIError, InvalidRequestError, AuthenticationError)}
