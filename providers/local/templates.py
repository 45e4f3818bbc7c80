"""Prompts of causal rerankers whose files do not carry one that sentence-transformers can use."""

from __future__ import annotations

import json
from pathlib import Path

QWEN3 = (
    "<|im_start|>system\n"
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
    "<Instruct>: {{ messages | selectattr('role', 'eq', 'system') | map(attribute='content') | first"
    " | default('Given a web search query, retrieve relevant passages that answer the query', true) }}\n"
    "<Query>: {{ messages | selectattr('role', 'eq', 'query') | map(attribute='content') | first }}\n"
    "<Document>: {{ messages | selectattr('role', 'eq', 'document') | map(attribute='content') | first }}"
    "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n{{ '\n' }}"
)
"""The prompt of Qwen3-Reranker. Source: https://huggingface.co/Qwen/Qwen3-Reranker-0.6B (2026-11)

Jinja would drop a newline at the very end, hence the quoted one.
"""


def template_for(folder: Path) -> str | None:
    """The chat template that a model needs beside its own files; None where these suffice."""
    config = folder / "config.json"
    if (folder / "modules.json").is_file() or not config.is_file():
        return None
    causal = json.loads(config.read_bytes()).get("architectures") == ["Qwen3ForCausalLM"]
    return QWEN3 if causal and not _knows_documents(folder) else None


def _knows_documents(folder: Path) -> bool:
    """Whether the model's own template has a place for a document, and so was made for reranking."""
    files = [folder / name for name in ("chat_template.jinja", "tokenizer_config.json") if (folder / name).is_file()]
    return any("document" in file.read_text() and "query" in file.read_text() for file in files)
