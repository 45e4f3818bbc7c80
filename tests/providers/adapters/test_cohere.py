"""Cohere: what is sent, and what is read out of every documented answer (bodies in `tests/wire/cohere/`)."""

from __future__ import annotations

from providers.types import Ranked, Ranking, Usage
from tests.providers.vendor import QUERY, TEXTS, Sends, Vendor, onto, vendor_tests

PLAIN = {"model": "a-model", "query": QUERY, "documents": TEXTS}
SENT: dict[str, Sends] = {
    "no more than needed": ({}, {}),
    "a limit": ({"top_n": 2}, {"top_n": 2}),
    "a limit beyond the list": ({"top_n": 9}, {"top_n": 3}),
    "a cut": ({"max_tokens_per_doc": 512}, {"max_tokens_per_doc": 512}),
    "the highest priority": ({"priority": 0}, {"priority": 0}),
    "no wish for documents": ({"return_documents": True}, {}),
    "no spans without the wish": ({"extra": {"relevant_spans": {"mode": "enabled"}}}, {}),
    "no spans of a model that tells none": (
        {"model": "rerank-v4.0-pro", "return_spans": True},
        {"model": "rerank-v4.0-pro"},
    ),
    "spans": (
        {"model": "rerank-v5.0-pro", "return_spans": True},
        {"model": "rerank-v5.0-pro", "relevant_spans": {"mode": "enabled"}},
    ),
    "spans of a model to come": (
        {"model": "rerank-v10", "return_spans": True},
        {"model": "rerank-v10", "relevant_spans": {"mode": "enabled"}},
    ),
    "spans in Cohere's own terms": (
        {
            "model": "rerank-v5",
            "return_spans": True,
            "extra": {"relevant_spans": {"threshold": 0.0, "max_spans": None}},
        },
        {"model": "rerank-v5", "relevant_spans": {"mode": "enabled", "threshold": 0.0}},
    ),
}
READ = {
    "success": Ranking(
        results=[Ranked(0, 0.9473211), Ranked(2, 0.1841175)],
        usage=Usage(search_units=1.0),
        id="2f1c6f1e-6a0e-4a5c-9d0b-0f6f1c8f3b77",
    ),
    "minimal": Ranking(results=[Ranked(0, 0.5)]),
    "odd_tokens_before_billed": Ranking(
        results=[Ranked(1, 0.25)],
        usage=Usage(prompt_tokens=57, completion_tokens=0, total_tokens=57, search_units=1.0, billed_tokens=60),
        id="b0d6",
    ),
    "odd_billed_tokens_only": Ranking(
        results=[Ranked(1, 0.25)], usage=Usage(prompt_tokens=60, total_tokens=60), id="b0d7"
    ),
    "odd_empty_tokens": Ranking(results=[Ranked(0, 0.25)], usage=Usage(prompt_tokens=9, total_tokens=9)),
    "odd_spans": Ranking(results=[Ranked(0, 0.9)], id="b0d8"),
    "odd_v1_document": Ranking(results=[Ranked(0, 0.93)], usage=Usage(search_units=1.0), id="b0d9"),
    "odd_score": Ranking(results=[Ranked(1, 0.75), Ranked(0, 0.0), Ranked(2, -0.5)]),
    "odd_nulls": Ranking(results=[Ranked(0, 1.0)]),
}
SAID = {
    "error_400_no_documents": "invalid request: list of documents must not be empty",
    "error_401_bad_key": "invalid api token",
    "error_404_model": "model 'rerank-x' not found, make sure the correct model ID was used and that you have access to"
    " the model.",
    "error_404_path": "404 page not found",
    "error_429": "Please wait and try again later",
    "error_499_cancelled": "failed to get rerank inference: request cancelled",
}


test_vendor = vendor_tests({"cohere": Vendor(sends=onto(PLAIN, SENT), reads=READ, says=SAID)})
