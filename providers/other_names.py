"""What other gateways call the vendors and servers that there are adapters for.

Source: https://docs.litellm.ai/docs/rerank (2026-11), https://docs.getbifrost.ai (2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping

LITELLM: Mapping[str, str] = {
    "azure_ai": "azure",
    "bedrock": "bedrock",
    "cohere": "cohere",
    "dashscope": "dashscope",
    "deepinfra": "deepinfra",
    "fireworks_ai": "fireworks",
    "hosted_vllm": "vllm",
    "huggingface": "tei",
    "infinity": "infinity",
    "jina_ai": "jina",
    "litellm_proxy": "litellm",
    "novita": "novita",
    "nvidia_nim": "nim",
    "together_ai": "together",
    "vertex_ai": "vertex",
    "voyage": "voyage",
    "watsonx": "watsonx",
}
"""The adapter by the prefix of LiteLLM's `model`."""

BIFROST: Mapping[str, str] = {
    "bedrock": "bedrock",
    "cohere": "cohere",
    "openai": "compatible",
    "tei": "tei",
    "vertex": "vertex",
    "vllm": "vllm",
}
"""The adapter by the name of Bifrost's provider, or of a custom one's base."""
