"""Voyage: what is sent, and what is read out of every documented answer (bodies in `tests/wire/voyage/`)."""

from __future__ import annotations

from providers.types import Ranked, Ranking, Usage
from tests.providers.vendor import QUERY, TEXTS, Sends, Vendor, onto, vendor_tests

PLAIN = {
    "model": "a-model",
    "query": QUERY,
    "documents": TEXTS,
    "return_documents": False,
}
SENT: dict[str, Sends] = {
    "no more than needed": ({}, {}),
    "a limit under its own name": ({"top_n": 2}, {"top_k": 2}),
    "a limit beyond the list": ({"top_n": 9}, {"top_k": 3}),
    "no wish for documents": ({"return_documents": True}, {}),
    "no cut": ({"max_tokens_per_doc": 512}, {}),
    "an instruction": ({"instruction": "prefer manuals"}, {"query": f"prefer manuals\n{QUERY}"}),
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


test_vendor = vendor_tests({"voyage": Vendor(sends=onto(PLAIN, SENT), reads=READ, says=SAID)})
