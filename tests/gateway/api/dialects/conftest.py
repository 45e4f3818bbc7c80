"""One gateway in front of one upstream, by three adapters: of texts only, of content parts, and one that counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

QUERY = "two words"
DOCUMENTS = ["nothing", "one of two", "two words"]
ORDER = [2, 1, 0]
SCORES = [2 / 3, 1 / 4, 0.0]

Ask = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
async def gateway(opened, upstream) -> httpx.AsyncClient:
    """`texts/…` reads texts only (Jina's adapter), `parts/…` reads content parts too (vLLM's), `counts/…` tells what it
    charges (Cohere's); `short` is a name without a slash."""
    client: httpx.AsyncClient = await opened(
        {
            "providers": {
                "texts": {"adapter": "jina", "base_url": upstream.url, "api_key": "k"},
                "parts": {"adapter": "vllm", "base_url": upstream.url},
                "counts": {"adapter": "cohere", "base_url": upstream.url, "api_key": "k"},
            },
            "models": {"short": {"target": "texts/m"}},
            "default_model": "texts/default",
        }
    )
    return client


@pytest.fixture
def ask(gateway: httpx.AsyncClient) -> Ask:
    """Post a body with a model, the query and the documents to a path; `...` takes a field out."""

    async def post(path: str, *, headers: dict[str, str] | None = None, **changes: Any) -> httpx.Response:
        body = {"model": "texts/m", "query": QUERY, "documents": DOCUMENTS, **changes}
        sent = {name: value for name, value in body.items() if value is not ...}
        return await gateway.post(path, json=sent, headers=headers)

    return post


def with_usage(upstream: Any, **usage: Any) -> None:
    """Let the upstream also count."""
    plain = upstream.behaviour

    def answer(asked: Any) -> tuple[int, Any, dict[str, str]]:
        status, body, headers, *_ = plain(asked)
        return status, {**body, **usage}, headers

    upstream.behaviour = answer
