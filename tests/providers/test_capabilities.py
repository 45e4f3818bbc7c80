"""What is known of a model: which pattern holds, what an operator corrects, and that every adapter declares it."""

from __future__ import annotations

from typing import get_args

import pytest
from msgspec.structs import asdict

from providers import registry
from providers.capabilities import Capabilities, CapabilitiesByModel, Limits, ScoreSpace, Scoring, resolve
from providers.spec import HttpProvider, Provider


def documents(count: int) -> Capabilities:
    return Capabilities(limits=Limits(documents=count))


LISTWISE = Capabilities(scoring="listwise")
PATTERNS: dict[str, tuple[str, list[CapabilitiesByModel], Capabilities]] = {
    "nothing declared": ("m", [{}], Capabilities()),
    "everything": ("m", [{"*": documents(5)}], documents(5)),
    "another model": ("m", [{"n": documents(5)}], Capabilities()),
    "a name wins over a pattern": ("m-1", [{"m-1": documents(1), "m-*": documents(2)}], documents(1)),
    "more fixed characters win": ("m-1", [{"m-*": documents(1), "*": documents(2)}], documents(1)),
    "a range is a wildcard": ("m-1", [{"m-[12]": documents(1), "m-*": documents(2)}], documents(2)),
    "a name with brackets": ("m[1]", [{"m[1]": documents(1), "*": documents(2)}], documents(1)),
    "names are not folded": ("M", [{"m": documents(1)}], Capabilities()),
    "facts add up": (
        "m-1",
        [{"*": documents(9), "m-*": LISTWISE}],
        Capabilities(limits=Limits(documents=9), scoring="listwise"),
    ),
    "limits add up": (
        "m",
        [{"*": documents(9), "m": Capabilities(limits=Limits(tokens_per_pair=7))}],
        Capabilities(limits=Limits(documents=9, tokens_per_pair=7)),
    ),
    "one model reads pictures": (
        "m-1",
        [{"*": Capabilities(multimodal=False), "m-*": Capabilities(multimodal=True)}],
        Capabilities(multimodal=True),
    ),
    "the operator says that it does not": (
        "m",
        [{"m": Capabilities(multimodal=True)}, {"*": Capabilities(multimodal=False)}],
        Capabilities(multimodal=False),
    ),
    "the operator corrects": ("m", [{"*": documents(9)}, {"*": documents(3)}], documents(3)),
    "the operator's pattern wins over the adapter's name": (
        "m",
        [{"m": documents(9)}, {"*": documents(3)}],
        documents(3),
    ),
    "what the operator leaves out stays": (
        "m",
        [{"m": LISTWISE}, {"*": documents(3)}],
        Capabilities(limits=Limits(documents=3), scoring="listwise"),
    ),
}


@pytest.mark.parametrize(("model", "layers", "known"), PATTERNS.values(), ids=PATTERNS)
def test_which_declaration_holds(model: str, layers: list[CapabilitiesByModel], known: Capabilities) -> None:
    assert resolve(model, *layers) == known


FACTS: dict[str, tuple[str, str, Capabilities]] = {
    "Cohere's documents": (
        "cohere",
        "rerank-v9",
        Capabilities(limits=Limits(documents=10_000), scoring="pointwise", score_space="probability"),
    ),
    "Cohere's v5 is calibrated": (
        "cohere",
        "rerank-v5.0-pro",
        Capabilities(
            limits=Limits(documents=10_000, tokens_per_pair=32_768), scoring="pointwise", score_space="calibrated"
        ),
    ),
    "Jina's v3 family is listwise": (
        "jina",
        "jina-reranker-v3.5",
        Capabilities(
            limits=Limits(tokens_per_call=131_000), scoring="listwise", score_space="cosine", multimodal=False
        ),
    ),
    "of Jina's v2 little is stated": ("jina", "jina-reranker-v2-base-multilingual", Capabilities(multimodal=False)),
    "Jina's m0 reads pictures": (
        "jina",
        "jina-reranker-m0",
        Capabilities(limits=Limits(tokens_per_pair=10_000), multimodal=True),
    ),
    "Voyage counts a call": (
        "voyage",
        "rerank-2-lite",
        Capabilities(
            limits=Limits(documents=1000, tokens_per_query=2000, tokens_per_pair=8000, tokens_per_call=600_000),
            scoring="pointwise",
            score_space="probability",
            instruction=False,
        ),
    ),
    "Voyage follows instructions since 2.5": (
        "voyage",
        "rerank-2.5-lite",
        Capabilities(
            limits=Limits(documents=1000, tokens_per_query=8000, tokens_per_pair=32_000, tokens_per_call=600_000),
            scoring="pointwise",
            score_space="probability",
            instruction=True,
        ),
    ),
    "vLLM with a cross-encoder": (
        "vllm",
        "BAAI/bge-reranker-v2-m3",
        Capabilities(scoring="pointwise", score_space="probability", multimodal=True, instruction=False),
    ),
    "vLLM with a causal reranker": (
        "vllm",
        "Qwen/Qwen3-Reranker-0.6B",
        Capabilities(scoring="pointwise", score_space="probability", multimodal=True, instruction=True),
    ),
    "vLLM with a listwise model": (
        "vllm",
        "jinaai/jina-reranker-v3",
        Capabilities(scoring="listwise", score_space="cosine", multimodal=False),
    ),
    "vLLM with anything": ("vllm", "m", Capabilities(multimodal=True)),
}


@pytest.mark.parametrize(("adapter", "model", "known"), FACTS.values(), ids=FACTS)
def test_what_our_adapters_declare(adapter: str, model: str, known: Capabilities) -> None:
    assert resolve(model, registry.find(adapter).capabilities) == known


@pytest.mark.parametrize("adapter", [*map(registry.find, registry.names())], ids=lambda adapter: adapter.name)
def test_every_adapter_declares_sane_capabilities(adapter: Provider) -> None:
    assert "*" in adapter.capabilities
    for pattern in adapter.capabilities:
        known = resolve(pattern, adapter.capabilities)
        limits = {name: value for name, value in asdict(known.limits).items() if value is not None}
        assert pattern.strip() == pattern != ""
        assert known.scoring in get_args(Scoring)
        assert known.score_space in get_args(ScoreSpace)
        assert all(type(value) is int and value > 0 for value in limits.values())
        assert isinstance(adapter, HttpProvider) or not limits
        whole = min(limits.get("tokens_per_pair", 10**9), limits.get("tokens_per_call", 10**9))
        assert limits.get("tokens_per_query", 0) <= whole
        assert limits.get("tokens_per_document", 0) <= whole
        assert limits.get("tokens_per_pair", 0) <= limits.get("tokens_per_call", 10**9)
