"""Every HTTP adapter keeps every promise of `HttpProvider`. A new adapter is tested here without a line being added,
unless it declares a vendor's field that no adapter declared before: that needs a sample value in SAMPLES."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from providers import registry
from providers.spec import HttpProvider
from providers.testing import Subject, conformance

WIRE = Path(__file__).parent.parent / "wire"
SAMPLES: dict[str, Any] = {
    "truncation": False,
    "max_doc_length": 1024,
    "truncate_prompt_tokens": 256,
    "truncation_side": "left",
    "max_tokens_per_query": 32,
    "chat_template_kwargs": {"instruction": "prefer official manuals"},
    "use_activation": False,
    "mm_processor_kwargs": {"num_crops": 4},
    "padding": "max_length",
    "cache_salt": "tenant-7",
    "parameters": {"truncate": "END"},
    "instruct": "prefer official manuals",
    "is_iql": True,
    "scoring_method": "chunk_avg",
    "chunking_options": {"size": 512},
    "latency": "slow",
    "truncate_input_tokens": 256,
    "task_settings": {"top_n": 3},
    "max_chunks_per_doc": 4,
    "overlap_tokens": 20,
    "raw_scores": True,
    "rewrite_query": True,
    "service_tier": "flex",
    "truncate": False,
    "truncation_direction": "Left",
}
OWN_SAMPLES = {"nim": {"truncate": "NONE"}, "nvidia": {"truncate": "NONE"}}
"""Values of fields that are of another kind for one adapter."""
MODELS = {"jina": "jina-reranker-v3", "cohere": "rerank-v5.0-pro", "azure": "Cohere-rerank-v5.0-pro"}
"""Where what is sent depends on the model: one that takes every declared field."""
OPTIONS = {
    "bedrock": {"region": "us-west-2"},
    "cloudflare": {"account_id": "an-account"},
    "vertex": {"project": "a-project"},
    "watsonx": {"project_id": "a-project"},
}
WITHOUT_COUNTS = {
    *("bedrock", "contextual", "elastic", "cloudflare", "vertex"),
    *("infron", "nim", "nvidia", "openvino", "sglang", "tei", "xinference"),
}
"""Vendors whose documented answers do not say what was counted."""


def subject(provider: HttpProvider) -> Subject:
    folder = WIRE / provider.name
    own = folder / "minimal.json"
    return Subject(
        provider,
        success=(folder / "success.json").read_bytes(),
        minimal=(own if own.exists() else WIRE / "minimal.json").read_bytes(),
        model=MODELS.get(provider.name, "a-model"),
        samples={**SAMPLES, **OWN_SAMPLES.get(provider.name, {})},
        options=OPTIONS.get(provider.name, {}),
        counts=provider.name not in WITHOUT_COUNTS,
    )


SUBJECTS = [subject(found) for found in map(registry.find, registry.names()) if isinstance(found, HttpProvider)]

test_adapter = conformance(*SUBJECTS)


@pytest.mark.parametrize("vendor", ["cohere", "jina", "voyage", "vllm"])
def test_is_among_the_adapters(vendor: str) -> None:
    assert vendor in {subject.provider.name for subject in SUBJECTS}
