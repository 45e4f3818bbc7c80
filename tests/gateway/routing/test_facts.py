"""What holds for every target behind a name, whichever serves."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.loader import from_tree
from gateway.routing.facts import ModelFacts, facts_of

POINTWISE = {"*": {"scoring": "pointwise"}}
PROVIDERS: dict[str, Any] = {
    "tei": {"base_url": "http://a"},
    "vllm": {"base_url": "http://b"},
    "own": {"adapter": "vllm", "base_url": "http://c", "capabilities": POINTWISE},
    "small": {"adapter": "vllm", "base_url": "http://c", "capabilities": {"*": {"limits": {"documents": 8}}}},
}
MODELS: dict[str, Any] = {
    "one": {"target": "tei/x"},
    "two": {"targets": [{"target": "tei/x"}, {"target": "own/x"}]},
    "mixed": {"target": "tei/x", "fallbacks": ["vllm/jina-reranker-v3"]},
    "unsure": {"target": "tei/x", "fallbacks": ["vllm/x"]},
    "deep": {"target": "own/x", "fallbacks": ["unsure"]},
    "limits": {"target": "tei/x", "fallbacks": ["small/x"]},
}

FACTS: dict[str, tuple[str, ModelFacts]] = {
    "a path": ("tei/x", ModelFacts("pointwise", 32)),
    "an alias": ("one", ModelFacts("pointwise", 32)),
    "as the operator corrects it": ("own/x", ModelFacts("pointwise", None)),
    "several targets, all pointwise": ("two", ModelFacts("pointwise", 32)),
    "one listwise fallback": ("mixed", ModelFacts("listwise", 32)),
    "one that is unknown": ("unsure", ModelFacts("unknown", 32)),
    "a fallback's fallback": ("deep", ModelFacts("unknown", 32)),
    "the smallest limit": ("limits", ModelFacts("unknown", 8)),
    "a provider that is not there": ("nope/x", ModelFacts()),
    "no name at all": ("nope", ModelFacts()),
}


@pytest.mark.parametrize(("name", "facts"), FACTS.values(), ids=FACTS)
def test_the_facts_of_a_name(name: str, facts: ModelFacts) -> None:
    assert facts_of(from_tree({"providers": PROVIDERS, "models": MODELS}), name) == facts


async def test_the_list_of_models_tells_them(opened) -> None:
    client = await opened({"providers": PROVIDERS, "models": MODELS})
    listed = {row["id"]: row for row in (await client.get("/v1/models")).json()["data"]}
    assert (listed["two"]["scoring"], listed["two"]["max_documents"]) == ("pointwise", 32)
    assert (listed["mixed"]["scoring"], listed["limits"]["max_documents"]) == ("listwise", 8)
