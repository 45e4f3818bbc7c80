"""Jina: what is sent, and what is read out of every documented answer (bodies in `tests/wire/jina/`)."""

from __future__ import annotations

from providers.types import Ranked, Ranking, Usage
from tests.providers.vendor import QUERY, TEXTS, Sends, Vendor, onto, vendor_tests

PLAIN = {
    "model": "a-model",
    "query": QUERY,
    "documents": TEXTS,
    "return_documents": False,
}
V2, V3 = {"model": "jina-reranker-v2-base-multilingual"}, {"model": "jina-reranker-v3"}
SENT: dict[str, Sends] = {
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


test_vendor = vendor_tests({"jina": Vendor(sends=onto(PLAIN, SENT), reads=READ, says=SAID)})
