"""Voyage's Python SDK, versions 0.2 to 0.5."""

from __future__ import annotations

import asyncio
import importlib.metadata
from typing import Any

import voyageai
from cases import *  # noqa: F403  # the shared cases
from cases import DOCUMENTS, Client, Gateway, Rank, Row
from voyageai.error import APIError, AuthenticationError, InvalidRequestError

OLD = importlib.metadata.version("voyageai").startswith("0.2")


def client_of(name: str, gateway: Gateway) -> Any:
    if not OLD:
        return gateway.run(name, voyageai=voyageai)["client"]
    gateway.run("voyageai-0.2", voyageai=voyageai)
    return (voyageai.AsyncClient if "async" in name else voyageai.Client)(api_key=gateway.key)


def by(name: str) -> Rank:
    def rank(gateway: Gateway, query: str, top_n: int | None, documents: bool) -> list[Row]:
        call = client_of(name, gateway).rerank(query, DOCUMENTS, gateway.model, top_k=top_n)
        result = asyncio.run(call) if asyncio.iscoroutine(call) else call
        assert result.total_tokens > 0
        return [Row(row.index, row.relevance_score, row.document) for row in result.results]

    return rank


CLIENTS = {
    "Client": Client(by("voyageai"), APIError, InvalidRequestError, AuthenticationError),
    "AsyncClient": Client(by("voyageai-async"), APIError, InvalidRequestError, AuthenticationError),
}

if not OLD:

    def strict(gateway: Gateway, query: str, top_n: int | None, documents: bool) -> list[Row]:
        client = voyageai.Client(api_key=gateway.key, base_url=f"{gateway.url}/voyage/v1")
        result = client.rerank(query, DOCUMENTS, gateway.model, top_k=top_n)
        return [Row(row.index, row.relevance_score, row.document) for row in result.results]

    CLIENTS["Client, strict"] = Client(strict, InvalidRequestError, InvalidRequestError, AuthenticationError)
