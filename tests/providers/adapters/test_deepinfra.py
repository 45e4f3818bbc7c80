"""DeepInfra: what is sent, and what is read out of every documented answer (bodies in `tests/wire/deepinfra/`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from providers.adapters.deepinfra import PROVIDER
from providers.types import Ranked, Ranking, RerankRequest, Usage

Wire = Callable[[str], bytes]
Asked = Callable[..., RerankRequest]

QUERY = "how long does a tube last"
PLAIN = {"queries": [QUERY, QUERY, QUERY], "documents": ["tubes", "helmets", "sealant"]}
SENT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a query for each document": ({}, {}),
    "no limit": ({"top_n": 2}, {}),
    "an instruction": ({"extra": {"instruction": "prefer manuals"}}, {"instruction": "prefer manuals"}),
    "no webhook": ({"extra": {"webhook": "https://hook.example"}}, {}),
}
READ = {
    "success": Ranking(
        results=[Ranked(0, 0.02), Ranked(1, 0.91), Ranked(2, 0.4)],
        usage=Usage(prompt_tokens=42, total_tokens=42),
        id="R1",
    ),
    "minimal": Ranking(results=[Ranked(0, 0.5)]),
    "odd_null_id": Ranking(results=[Ranked(0, 0.1), Ranked(1, 0.2)]),
}
SAID = {
    "error_401": "the key is not valid",
    "error_404": "no such model",
    "error_422": "body.queries: field required",
}


@pytest.mark.parametrize(("fields", "changes"), SENT.values(), ids=SENT)
def test_sends(fields: dict[str, Any], changes: dict[str, Any], asked: Asked) -> None:
    assert PROVIDER.encode(asked(**fields)) == {**PLAIN, **changes}


@pytest.mark.parametrize(("name", "ranking"), READ.items(), ids=READ)
def test_reads(name: str, ranking: Ranking, wire: Wire, asked: Asked) -> None:
    assert PROVIDER.decode(wire(f"deepinfra/{name}"), asked()) == ranking


@pytest.mark.parametrize(("name", "sentence"), SAID.items(), ids=SAID)
def test_says_why(name: str, sentence: str, wire: Wire) -> None:
    assert PROVIDER.error_message(wire(f"deepinfra/{name}")) == sentence


def test_the_model_is_named_in_the_path() -> None:
    assert callable(PROVIDER.path)
    assert PROVIDER.path("Qwen/Qwen3-Reranker-8B") == "/v1/inference/Qwen/Qwen3-Reranker-8B"


def test_every_recorded_body_is_a_case() -> None:
    recorded = Path(__file__).parents[2] / "wire" / "deepinfra"
    assert {body.stem for body in recorded.iterdir()} == READ.keys() | SAID.keys()
