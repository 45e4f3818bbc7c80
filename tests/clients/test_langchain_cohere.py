"""LangChain's Cohere package."""

from __future__ import annotations

from cases import *  # noqa: F403  # the shared cases
from cases import DOCUMENTS, Client, Gateway, Row
from cohere.errors import BadRequestError, NotFoundError, UnauthorizedError
from langchain_cohere import CohereRerank
from langchain_core.documents import Document


def rank(gateway: Gateway, query: str, top_n: int | None, documents: bool) -> list[Row]:
    compressor = gateway.run("langchain-cohere", CohereRerank=CohereRerank)["compressor"]
    compressor.top_n = top_n
    found = compressor.compress_documents([Document(page_content=text) for text in DOCUMENTS], query)
    return [
        Row(DOCUMENTS.index(each.page_content), each.metadata["relevance_score"], each.page_content) for each in found
    ]


CLIENTS = {"CohereRerank": Client(rank, NotFoundError, BadRequestError, UnauthorizedError)}
