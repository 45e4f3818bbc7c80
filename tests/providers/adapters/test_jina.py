"""Jina: what is sent, and what is read out of every documented answer (bodies in `tests/wire/jina/`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from providers.adapters.jina import PROVIDER
from providers.types import Ranked, Ranking, RerankRequest, Usage

Wire = Callable[[str], bytes]
Asked = Callable[..., RerankRequest]

DOCUMENTS = ["tubes", "helmets", "sealant"]

PLAIN = {
    "model": "a-model",
    "query": "how long does a tube last",
    "documents": DOCUMENTS,
    "return_documents": False,
}
V2, V3 = {"model": "jina-reranker-v2-base-multilingual"}, {"model": "jina-reranker-v3"}
SENT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "no more than needed": ({}, {}),
    "a limit": ({"top_n": 2}, {"top_n": 2}),
    "a limit beyond the list": ({"top_n": 9}, {"top_n": 3}),
    "no wish for documents": ({"return_documents": True}, {}),
    "a cut, to a model that can": ({**V3, "max_tokens_per_doc": 512}, {**V3, "max_doc_length": 512}),
    "a cut at the vendor's maximum": ({**V3, "max_tokens_per_doc": 9000}, {**V3, "max_doc_length": 8192}),
    "no cut to a model that cannot": ({**V2, "max_tokens_per_doc": 512}, V2),
    "the vendor's own name first": (
        {**V3, "max_tokens_per_doc": 512, "extra": {"max_doc_length": 64}},
        {**V3, "max_doc_length": 64},
    ),
    "truncation": ({"extra": {"truncation": True}}, {"truncation": True}),
    "no embeddings": ({"extra": {"return_embeddings": True}}, {}),
}
RESULTS = [Ranked(0, 0.4127), Ranked(1, -0.0312)]
READ = {
    "success": Ranking(results=RESULTS, usage=Usage(total_tokens=57)),
    "minimal": Ranking(results=[Ranked(0, 0.5)]),
    "odd_document_object": Ranking(results=RESULTS, usage=Usage(total_tokens=57, prompt_tokens=57)),
    "odd_document_string_and_null": Ranking(results=RESULTS, usage=Usage(total_tokens=57)),
    "odd_document_image": Ranking(results=RESULTS, usage=Usage(total_tokens=57)),
    "odd_embedding": Ranking(results=RESULTS, usage=Usage(total_tokens=57)),
    "odd_score": Ranking(results=[Ranked(0, 0.0), Ranked(1, 0.75)]),
    "odd_zero_usage": Ranking(results=RESULTS),
}
SAID = {
    "error_400_model": "Model jina-reranker-v9 not found. Available models: jina-reranker-v3, jina-reranker-m0.",
    "error_401": "The API key is missing.",
    "error_403_balance": "Insufficient account balance. Please recharge.",
    "error_422": "Validation failed. (documents: List should have at least 1 item.)",
    "error_422_fastapi": "body.documents: field required; body.top_n: ensure this value is greater than 0",
    "error_429": "Token rate limit exceeded.",
}


@pytest.mark.parametrize(("fields", "changes"), SENT.values(), ids=SENT)
def test_sends(fields: dict[str, Any], changes: dict[str, Any], asked: Asked) -> None:
    assert PROVIDER.encode(asked(**fields)) == {**PLAIN, **changes}


@pytest.mark.parametrize(("name", "ranking"), READ.items(), ids=READ)
def test_reads(name: str, ranking: Ranking, wire: Wire, asked: Asked) -> None:
    assert PROVIDER.decode(wire(f"{PROVIDER.name}/{name}"), asked()) == ranking


@pytest.mark.parametrize(("name", "sentence"), SAID.items(), ids=SAID)
def test_says_why(name: str, sentence: str, wire: Wire) -> None:
    assert PROVIDER.error_message(wire(f"{PROVIDER.name}/{name}")) == sentence


def test_every_recorded_body_is_a_case() -> None:
    recorded = Path(__file__).parents[2] / "wire" / PROVIDER.name
    assert {body.stem for body in recorded.iterdir()} == READ.keys() | SAID.keys()
