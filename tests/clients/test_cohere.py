"""Cohere's Python SDK, versions 5 to 7."""

from __future__ import annotations

import asyncio
from typing import Any

import cohere
import pytest
from cases import *  # noqa: F403  # the shared cases
from cases import DOCUMENTS, MODEL, ORDER, QUERY, Client, Gateway, Rank, Row
from cohere.errors import BadRequestError, NotFoundError, UnauthorizedError


def v1(name: str, base: str = "") -> Rank:
    def rank(gateway: Gateway, query: str, top_n: int | None, documents: bool) -> list[Row]:
        client = (
            gateway.run(name, cohere=cohere)["client"]
            if not base
            else cohere.Client(gateway.key, base_url=gateway.url + base)
        )
        call = client.rerank(**asked(gateway, query, top_n), **({"return_documents": True} if documents else {}))
        return rows(asyncio.run(call) if asyncio.iscoroutine(call) else call)

    return rank


def v2(name: str, base: str = "") -> Rank:
    def rank(gateway: Gateway, query: str, top_n: int | None, documents: bool) -> list[Row]:
        client = (
            gateway.run(name, cohere=cohere)["client"]
            if not base
            else cohere.ClientV2(gateway.key, base_url=gateway.url + base)
        )
        call = client.rerank(**asked(gateway, query, top_n))
        return rows(asyncio.run(call) if asyncio.iscoroutine(call) else call)

    return rank


def asked(gateway: Gateway, query: str, top_n: int | None) -> dict[str, Any]:
    limit = {"top_n": top_n} if top_n else {}
    return {"model": gateway.model, "query": query, "documents": DOCUMENTS, **limit}


def rows(response: Any) -> list[Row]:
    return [
        Row(row.index, row.relevance_score, document.text if (document := getattr(row, "document", None)) else None)
        for row in response.results
    ]


ERRORS = (NotFoundError, BadRequestError, UnauthorizedError)
CLIENTS = {
    "Client": Client(v1("cohere-v1"), *ERRORS),
    "AsyncClient": Client(v1("cohere-v1-async"), *ERRORS),
    "ClientV2": Client(v2("cohere-v2"), *ERRORS, echoes=False),
    "AsyncClientV2": Client(v2("cohere-v2-async"), *ERRORS, echoes=False),
    "Client, strict": Client(v1("cohere-v1", "/cohere"), *ERRORS),
    "ClientV2, strict": Client(v2("cohere-v2", "/cohere"), *ERRORS, echoes=False),
    "Client, a version too many": Client(v1("cohere-v1", "/v1"), *ERRORS),
    "ClientV2, the other version": Client(v2("cohere-v2", "/v1/"), *ERRORS, echoes=False),
    "ClientV2, a doubled slash": Client(v2("cohere-v2", "//"), *ERRORS, echoes=False),
}


@pytest.mark.parametrize("base", ["", "/cohere"])
def test_v1_takes_objects_and_gives_them_back(base: str, gateway: Gateway) -> None:
    client = cohere.Client(gateway.key, base_url=gateway.url + base)
    documents = [{"text": text, "title": f"title {index}"} for index, text in enumerate(DOCUMENTS)]
    response = client.rerank(model=MODEL, query=QUERY, documents=documents, return_documents=True)
    assert [row.index for row in response.results] == ORDER
    assert [row.document.text for row in response.results] == [DOCUMENTS[index] for index in ORDER]


def test_v1_ranks_by_the_fields_that_are_named(gateway: Gateway) -> None:
    client = cohere.Client(gateway.key, base_url=f"{gateway.url}/cohere")
    documents = [{"text": "the same", "body": text} for text in DOCUMENTS]
    named = client.rerank(model=MODEL, query=QUERY, documents=documents, rank_fields=["body"])
    plain = client.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS)
    assert [row.relevance_score for row in named.results] == [row.relevance_score for row in plain.results]


def test_what_it_cost_is_in_meta(gateway: Gateway) -> None:
    response = cohere.ClientV2(gateway.key, base_url=gateway.url).rerank(model=MODEL, query=QUERY, documents=DOCUMENTS)
    assert response.meta.api_version.version == "2"
    assert response.meta.tokens.input_tokens > 0
    assert response.meta.billed_units.search_units is None
