"""Another gateway as an upstream: what is sent, and what is read of its answers (bodies in `tests/wire/gateway/`)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.api.dialects.unified.answer import ExtraFields
from providers.adapters.gateway import MAX_FIGURES, OF_ITSELF, PROVIDER
from providers.types import ContentParts, Ranked, Ranking, RerankRequest, Usage

Wire = Callable[[str], bytes]
Asked = Callable[..., RerankRequest]

PLAIN = {"model": "a-model", "query": "how long does a tube last", "documents": ["tubes", "helmets", "sealant"]}
PARTS = ContentParts([{"type": "text", "text": "a tube"}])
SENT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "no more than needed": ({}, {}),
    "a limit": ({"top_n": 2}, {"top_n": 2}),
    "a cut and a priority": ({"max_tokens_per_doc": 9, "priority": 0}, {"max_tokens_per_doc": 9, "priority": 0}),
    "a vendor's field": ({"extra": {"instruction": "i"}}, {"instruction": "i"}),
    "content parts": ({"query": PARTS}, {"query": PARTS}),
    "no wish for documents": ({"return_documents": True}, {}),
}
READ = {
    "success": Ranking(
        results=[Ranked(1, 0.75), Ranked(0, 0.25)],
        usage=Usage(prompt_tokens=33, total_tokens=33),
        id="req-1",
        details={"queue_ms": 3.5, "truncated_documents": 2},
    ),
    "odd_degraded": Ranking(results=[Ranked(0, 0.0)], id="req-2", details={"degraded": True}),
    "odd_extra_fields": Ranking(results=[Ranked(0, 0.5)]),
}


@pytest.mark.parametrize(("fields", "changes"), SENT.values(), ids=SENT)
def test_sends(fields: dict[str, Any], changes: dict[str, Any], asked: Asked) -> None:
    assert PROVIDER.encode(asked(**fields)) == {**PLAIN, **changes}


@pytest.mark.parametrize(("name", "ranking"), READ.items(), ids=READ)
def test_reads(name: str, ranking: Ranking, wire: Wire, asked: Asked) -> None:
    assert PROVIDER.decode(wire(f"gateway/{name}"), asked()) == ranking


def test_says_why(wire: Wire) -> None:
    assert PROVIDER.error_message(wire("gateway/error_400")) == "top_n must be at least 1"


def test_a_flood_of_figures_is_cut(asked: Asked) -> None:
    figures = {f"figure_{number}": number for number in range(1_000)}
    body = {"results": [{"index": 0, "relevance_score": 0.5}], "extra_fields": figures}
    details = PROVIDER.decode(json.dumps(body).encode(), asked()).details
    assert details is not None
    assert len(details) == MAX_FIGURES


def test_what_a_gateway_says_of_itself_is_all_that_is_dropped() -> None:
    assert set(ExtraFields.__struct_fields__) == OF_ITSELF


def test_every_recorded_body_is_a_case() -> None:
    recorded = Path(__file__).parents[2] / "wire" / "gateway"
    assert {body.stem for body in recorded.iterdir()} == {*READ, "error_400"}
