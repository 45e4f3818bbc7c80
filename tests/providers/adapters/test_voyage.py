"""Voyage: what is sent, and what is read out of every documented answer (bodies in `tests/wire/voyage/`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from providers.adapters.voyage import PROVIDER
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
SENT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "no more than needed": ({}, {}),
    "a limit under its own name": ({"top_n": 2}, {"top_k": 2}),
    "a limit beyond the list": ({"top_n": 9}, {"top_k": 3}),
    "no wish for documents": ({"return_documents": True}, {}),
    "no cut": ({"max_tokens_per_doc": 512}, {}),
    "no truncation": ({"extra": {"truncation": False}}, {"truncation": False}),
}
RESULTS = [Ranked(1, 0.455078125), Ranked(0, 0.439453125)]
READ = {
    "success": Ranking(results=RESULTS, usage=Usage(total_tokens=41)),
    "minimal": Ranking(results=[Ranked(0, 0.5)]),
    "odd_document_string": Ranking(results=RESULTS, usage=Usage(total_tokens=41)),
    "odd_document_object_and_null": Ranking(results=RESULTS),
    "odd_score": Ranking(results=[Ranked(1, 0.75), Ranked(0, 0.0)]),
}
SAID = {
    "error_400_tokens": "Request to model 'rerank-1' failed. The max allowed tokens per submitted batch is 100000."
    " Your batch has 145736 tokens after truncation.",
    "error_401": "Provided API key is invalid.",
    "error_422_fastapi": "body.query: field required",
    "error_429": "You have not yet added your payment method, so the rate limits are 3 RPM and 10K TPM.",
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
