"""Xinference's own client: asks for the key's need and the model's kind, then reranks."""

from __future__ import annotations

import xinference_client
from cases import *  # noqa: F403  # the shared cases
from cases import DOCUMENTS, Client, Gateway, Row


def rank(gateway: Gateway, query: str, top_n: int | None, documents: bool) -> list[Row]:
    client = gateway.run("xinference", xinference_client=xinference_client)["client"]
    response = client.get_model(gateway.model).rerank(DOCUMENTS, query, top_n=top_n, return_documents=documents)
    return [
        Row(row["index"], row["relevance_score"], row["document"]["text"] if documents else None)
        for row in response["results"]
    ]


CLIENTS = {"RESTfulClient": Client(rank, RuntimeError, RuntimeError, RuntimeError)}
