"""Another gateway as an upstream: what is sent, and what is read of its answers (bodies in `tests/wire/gateway/`)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.api.dialects.unified.answer import ExtraFields
from providers.adapters.gateway import PROVIDER
from providers.types import AnswerWarning, ContentParts, Ranked, Ranking, Usage
from providers.wire.gateway import MAX_FIGURES, OF_ITSELF
from providers.wire.warnings import MAX_WARNING_CHARACTERS, MAX_WARNINGS
from tests.providers.vendor import QUERY, TEXTS, Asked, Sends, Vendor, onto, vendor_tests

PLAIN = {"model": "a-model", "query": QUERY, "documents": TEXTS}
PARTS = ContentParts([{"type": "text", "text": "a tube"}])
SENT: dict[str, Sends] = {
    "no more than needed": ({}, {}),
    "a limit": ({"top_n": 2}, {"top_n": 2}),
    "a cut and a priority": ({"max_tokens_per_doc": 9, "priority": 0}, {"max_tokens_per_doc": 9, "priority": 0}),
    "a vendor's field": ({"instruction": "i"}, {"instruction": "i"}),
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


SAID = {"error_400": "top_n must be at least 1"}

test_vendor = vendor_tests({"gateway": Vendor(sends=onto(PLAIN, SENT), reads=READ, says=SAID)})


def test_a_flood_of_figures_is_cut(asked: Asked) -> None:
    figures = {f"figure_{number}": number for number in range(1_000)}
    body = {"results": [{"index": 0, "relevance_score": 0.5}], "extra_fields": figures}
    details = PROVIDER.decode(json.dumps(body).encode(), asked()).details
    assert details is not None
    assert len(details) == MAX_FIGURES


@pytest.mark.parametrize("name", ["truncated", "truncated_query", "cache", "members", "stages"])
def test_a_number_in_place_of_a_record_is_dropped(asked: Asked, name: str) -> None:
    body = {"results": [{"index": 0, "relevance_score": 0.5}], "extra_fields": {name: 5, "queue_ms": 1}}
    assert PROVIDER.decode(json.dumps(body).encode(), asked()).details == {"queue_ms": 1}


SAYINGS: dict[str, tuple[dict[str, Any], str, tuple[AnswerWarning, ...]]] = {
    "nothing": ({}, "unknown", ()),
    "what its scores are": ({"score_space": "logit"}, "logit", ()),
    "a kind that nobody knows": ({"score_space": "percent"}, "unknown", ()),
    "no kind": ({"score_space": ["logit"]}, "unknown", ()),
    "a warning": (
        {"warnings": [{"code": "no_scores", "message": "None."}]}, "unknown", (AnswerWarning("no_scores", "None."),),
    ),
    "what is no warning": (
        {"warnings": ["x", {"code": 1, "message": "m"}, {"code": "a b", "message": "m"}, {}]}, "unknown", (),
    ),
    "warnings that are no list": ({"warnings": {"code": "c", "message": "m"}}, "unknown", ()),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "space", "warnings"), SAYINGS.values(), ids=SAYINGS)
def test_what_it_says_of_its_scores_is_kept(asked: Asked, fields: Any, space: str, warnings: Any) -> None:
    body = {"results": [{"index": 0, "relevance_score": 0.5}], "extra_fields": fields}
    ranking = PROVIDER.decode(json.dumps(body).encode(), asked())
    assert (ranking.score_space, ranking.warnings, ranking.details) == (space, warnings, None)


def test_a_flood_of_warnings_is_cut(asked: Asked) -> None:
    rows = [{"code": "c", "message": "m" * 10_000}] * 1_000
    body = {"results": [{"index": 0, "relevance_score": 0.5}], "extra_fields": {"warnings": rows}}
    warnings = PROVIDER.decode(json.dumps(body).encode(), asked()).warnings
    assert len(warnings) == MAX_WARNINGS
    assert all(len(warning.message) == MAX_WARNING_CHARACTERS for warning in warnings)


def test_what_a_gateway_says_of_itself_is_all_that_is_dropped() -> None:
    assert set(ExtraFields.__struct_fields__) == OF_ITSELF
