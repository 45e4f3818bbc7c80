"""vLLM: what is sent, and what is read out of every documented answer (bodies in `tests/wire/vllm/`)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from providers.adapters.vllm import PROVIDER
from providers.types import ContentParts, Ranked, Ranking, Usage
from tests.providers.vendor import QUERY, TEXTS, Asked, Sends, Vendor, onto, vendor_tests

PLAIN = {
    "model": "a-model",
    "query": QUERY,
    "documents": TEXTS,
    "truncate_prompt_tokens": -1,
}
IMAGE = ContentParts(content=[{"type": "image_url", "image_url": {"url": "https://img.example/gears.png"}}])
SENT: dict[str, Sends] = {
    "no more than needed, but pairs cut to fit": ({}, {}),
    "a limit": ({"top_n": 2}, {"top_n": 2}),
    "a limit beyond the list": ({"top_n": 9}, {"top_n": 3}),
    "no wish for documents": ({"return_documents": True}, {}),
    "a cut": ({"max_tokens_per_doc": 512}, {"max_tokens_per_doc": 512}),
    "a priority": ({"priority": 3}, {"priority": 3}),
    "the caller's own length": ({"extra": {"truncate_prompt_tokens": 256}}, {"truncate_prompt_tokens": 256}),
    "the default length for a null": ({"extra": {"truncate_prompt_tokens": None}}, {}),
    "raw scores": ({"extra": {"use_activation": False}}, {"use_activation": False}),
    "an instruction": ({"instruction": "prefer manuals"}, {"instruction": "prefer manuals"}),
    "content parts": ({"query": IMAGE, "documents": ["gears", IMAGE]}, {"query": IMAGE, "documents": ["gears", IMAGE]}),
    "no name the server has dropped": ({"extra": {"activation": False, "softmax": True, "normalize": True}}, {}),
}
RESULTS = [Ranked(0, 0.98291015625), Ranked(1, 0.00010120868682861328)]
READ = {
    "success": Ranking(results=RESULTS, usage=Usage(prompt_tokens=21, total_tokens=21), id="score-6b6e0f"),
    "minimal": Ranking(results=[Ranked(0, 0.5)]),
    "odd_total_tokens_only": Ranking(results=RESULTS, usage=Usage(total_tokens=21), id="rerank-6b6e0f"),
    "odd_zero_usage": Ranking(results=RESULTS, id="score-1"),
    "odd_multimodal_document": Ranking(
        results=[Ranked(0, 0.5)], usage=Usage(prompt_tokens=900, total_tokens=900), id="score-2"
    ),
    "odd_document_string_and_null": Ranking(results=[Ranked(0, 0.5), Ranked(1, 0.25)]),
    "odd_logits": Ranking(results=[Ranked(1, 4.5), Ranked(0, -11.25)], id="score-3"),
    "odd_score": Ranking(results=[Ranked(0, 0.0), Ranked(1, 0.75)]),
}
SAID = {
    "error_400_validation": "1 validation error(s): field required",
    "error_401": "Unauthorized",
    "error_404_flat": "The model `x` does not exist.",
    "error_404_model": "The model `x` does not exist. Valid aliases: bge",
    "error_500": "EngineCore encountered an issue.",
}


def test_content_parts_are_written_as_vllm_reads_them(asked: Asked) -> None:
    body = json.loads(msgspec.json.encode(PROVIDER.encode(asked(documents=["gears", IMAGE]))))
    assert body["documents"] == ["gears", {"content": IMAGE.content}]


test_vendor = vendor_tests({"vllm": Vendor(sends=onto(PLAIN, SENT), reads=READ, says=SAID)})


PAIRS: dict[str, Sends] = {
    "one query": ({"queries": ["q"]}, {"text_1": "q"}),
    "a query for each": ({"queries": ["q", "r", "s"]}, {"text_1": ["q", "r", "s"]}),
    "content parts": ({"queries": [IMAGE]}, {"text_1": IMAGE}),
    "no limit": ({"queries": ["q"], "top_n": 1}, {"text_1": "q"}),
    "its own fields": (
        {
            "queries": ["q"],
            "priority": 3,
            "max_tokens_per_doc": 64,
            "extra": {"use_activation": False, "truncate_prompt_tokens": 8, "made_up": 1},
        },
        {"text_1": "q", "priority": 3, "max_tokens_per_doc": 64, "use_activation": False, "truncate_prompt_tokens": 8},
    ),
}


@pytest.mark.parametrize(("fields", "sent"), PAIRS.values(), ids=PAIRS)
def test_scores_are_asked_for(fields: dict[str, Any], sent: dict[str, Any], asked: Asked) -> None:
    assert PROVIDER.score is not None
    plain = {"model": "a-model", "text_2": TEXTS, "truncate_prompt_tokens": -1}
    assert PROVIDER.score.encode(asked(**fields)) == {**plain, **sent}


def test_scores_are_read(asked: Asked) -> None:
    assert PROVIDER.score is not None
    body = b"""{"id": "score-1", "object": "list", "created": 693570, "model": "m", "usage": {"prompt_tokens": 21,
        "total_tokens": 21, "completion_tokens": 0, "prompt_tokens_details": null},
        "data": [{"index": 0, "object": "score", "score": 0.5}, {"index": 1, "object": "score", "score": 1}]}"""
    ranking = PROVIDER.score.decode(body, asked())
    assert ranking.results == [Ranked(0, 0.5), Ranked(1, 1.0)]
    assert ranking.usage is not None
    assert ranking.usage.total_tokens == 21


def test_the_documentation_s_empty_usage_is_no_usage(asked: Asked) -> None:
    assert PROVIDER.score is not None
    body = b'{"id": "score-request-id", "data": [{"index": 0, "object": "score", "score": 1}], "usage": {}}'
    assert PROVIDER.score.decode(body, asked()).usage is None
