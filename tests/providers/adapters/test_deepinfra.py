"""DeepInfra: what is sent, and what is read out of every documented answer (bodies in `tests/wire/deepinfra/`)."""

from __future__ import annotations

from providers.adapters.deepinfra import PROVIDER
from providers.types import Ranked, Ranking, Usage
from tests.providers.vendor import QUERY, TEXTS, Sends, Vendor, onto, vendor_tests

PLAIN = {"queries": [QUERY, QUERY, QUERY], "documents": TEXTS}
SENT: dict[str, Sends] = {
    "a query for each document": ({}, {}),
    "no limit": ({"top_n": 2}, {}),
    "an instruction": ({"instruction": "prefer manuals"}, {"instruction": "prefer manuals"}),
    "no webhook": ({"extra": {"webhook": "https://hook.example"}}, {}),
}
READ = {
    "success": Ranking(
        results=[Ranked(0, 0.02), Ranked(1, 0.91), Ranked(2, 0.4)],
        usage=Usage(prompt_tokens=42, total_tokens=42),
        id="R1",
    ),
    "minimal": Ranking(results=[Ranked(0, 0.5), Ranked(1, 0.25), Ranked(2, 0.75)]),
    "odd_null_id": Ranking(results=[Ranked(0, 0.1), Ranked(1, 0.2), Ranked(2, 0.3)]),
}
REFUSED = {
    "odd_too_few": "it has 2 scores in the order of the documents, of which there are 3",
    "odd_too_many": "it has 4 scores in the order of the documents, of which there are 3",
}
SAID = {
    "error_401": "the key is not valid",
    "error_404": "no such model",
    "error_422": "body.queries: field required",
}


test_vendor = vendor_tests({"deepinfra": Vendor(sends=onto(PLAIN, SENT), reads=READ, says=SAID, refuses=REFUSED)})


def test_the_model_is_named_in_the_path() -> None:
    assert callable(PROVIDER.path)
    assert PROVIDER.path("Qwen/Qwen3-Reranker-8B") == "/v1/inference/Qwen/Qwen3-Reranker-8B"
