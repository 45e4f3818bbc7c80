"""Replicas of a local model as an upstream: what is sent, and what is read (bodies in `tests/wire/engine/`)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from providers.adapters.engine import PROVIDER
from providers.adapters.local import PROVIDER as LOCAL
from providers.types import Ranked, Ranking, RerankRequest, Usage
from tests.providers.vendor import QUERY, TEXTS, Asked, Sends, Vendor, onto, vendor_tests

PLAIN = {"model": "a-model", "query": QUERY, "documents": TEXTS}
SENT: dict[str, Sends] = {
    "no more than needed": ({}, {}),
    "every field of a local model": (
        {
            **{"top_n": 2, "max_tokens_per_doc": 9, "priority": 0, "instruction": "i", "return_spans": True},
            "extra": {"use_activation": False},
        },
        {
            **{"top_n": 2, "max_tokens_per_doc": 9, "priority": 0, "instruction": "i", "return_spans": True},
            "use_activation": False,
        },
    ),
    "no other server's field": ({"extra": {"truncation_side": "left", "raw_scores": True}}, {}),
}
TIMES = {"tokenize_ms": 0.4, "queue_ms": 3.5, "compute_ms": 8.1}
WHOLE = Ranking(
    results=[Ranked(1, 0.75), Ranked(0, 0.25)],
    usage=Usage(prompt_tokens=33, completion_tokens=0, total_tokens=33),
    id="req-1",
    score_space="probability",
    details={**TIMES, "truncated_documents": 0},
)
CUT = {"truncated_documents": 1, "truncated": [{"index": 1, "kept_tokens": 96}]}
READ = {
    "success": WHOLE,
    "cut": replace(WHOLE, details={**TIMES, **CUT}),
    "odd_cuts": Ranking(results=[Ranked(0, 0.5)], details={"compute_ms": 2.0}),
}
SAID = {"error_429": "the local model's queue is full; try again later"}

test_vendor = vendor_tests({"engine": Vendor(sends=onto(PLAIN, SENT), reads=READ, says=SAID)})


def test_it_takes_what_a_local_model_takes() -> None:
    """Else a field would be lost when `base_url` moves the models out of the process."""
    assert LOCAL.fields <= PROVIDER.fields
    assert PROVIDER.logits_by == LOCAL.logits_by


PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "one query": ({"queries": [QUERY]}, {"queries": QUERY}),
    "a query to each document": ({"queries": ["a", "b", "c"]}, {"queries": ["a", "b", "c"]}),
    "wishes": (
        {"queries": [QUERY], "priority": 3, "max_tokens_per_doc": 4, "extra": {"use_activation": False}},
        {"queries": QUERY, "priority": 3, "max_tokens_per_doc": 4, "use_activation": False},
    ),
}


@pytest.mark.parametrize(("fields", "body"), PAIRS.values(), ids=PAIRS)
def test_pairs_are_put_to_the_score_api(asked: Asked, fields: dict[str, Any], body: dict[str, Any]) -> None:
    assert PROVIDER.score is not None
    request: RerankRequest = asked(**fields)
    assert PROVIDER.score.encode(request) == {"model": "a-model", "documents": TEXTS, **body}
