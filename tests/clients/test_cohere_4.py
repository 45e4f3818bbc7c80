"""Cohere's Python SDK, version 4: the oldest with rerank that installs."""

from __future__ import annotations

import asyncio
from typing import Any

import cohere
from cases import *  # noqa: F403  # the shared cases
from cases import DOCUMENTS, Client, Gateway, Rank, Row
from cohere.error import CohereAPIError


def by(name: str) -> Rank:
    def rank(gateway: Gateway, query: str, top_n: int | None, documents: bool) -> list[Row]:
        return asyncio.run(asked(name, gateway, query, top_n))

    return rank


async def asked(name: str, gateway: Gateway, query: str, top_n: int | None) -> list[Row]:
    client: Any = gateway.run(name, cohere=cohere)["client"]
    call = client.rerank(model=gateway.model, query=query, documents=DOCUMENTS, top_n=top_n)
    try:
        response = await call if asyncio.iscoroutine(call) else call
    finally:
        if isinstance(client, cohere.AsyncClient):
            await client.close()
    return [Row(row.index, row.relevance_score, row.document["text"]) for row in response.results]


CLIENTS = {
    "Client": Client(by("cohere-4"), CohereAPIError, CohereAPIError, CohereAPIError),
    "AsyncClient": Client(by("cohere-4-async"), CohereAPIError, CohereAPIError, CohereAPIError),
}
