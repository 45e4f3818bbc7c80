"""Prompts of rerankers made of causal models: whether a model has one, and Qwen3-Reranker's, whose files lack it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from providers.errors import NotReady
from providers.local.architecture import CAUSAL, first_architecture, read_json
from providers.spec import LocalModel

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

QWEN3_RERANKER = re.compile(r"qwen3[-_ ]?reranker", re.IGNORECASE)
MODEL_CARD, MAX_CARD_CHARACTERS = "README.md", 4_096
"""A model's card says what it is at its beginning: in its metadata and its title."""

NO_PROMPT = (
    "has no prompt that holds a query and a document, so its answers would not rank; put the prompt that it was trained"
    " with into its folder as chat_template.jinja, with places for the roles 'query' and 'document'"
)


def template_for(folder: Path, settings: LocalModel) -> str | None:
    """The chat template that a model needs beside its own files; None where these suffice.

    Raises:
        NotReady: if the model needs a prompt and there is none.
    """
    config, own = read_json(folder / "config.json"), _own_template(folder)
    if _has_places(own) or _was_saved_as_reranker(folder, own):
        return None
    if _is_qwen3_reranker(folder, config, own, settings):
        return QWEN3
    architecture = first_architecture(config)
    if own or architecture.endswith(CAUSAL):
        raise NotReady(f"the model, a {architecture}, {NO_PROMPT}")
    return None


def _own_template(folder: Path) -> str:
    """The chat templates of a model's own files, all of them in one text."""
    files = [folder / "chat_template.jinja", *sorted(folder.glob("additional_chat_templates/*.jinja"))]
    saved = [read_json(folder / name).get("chat_template") for name in ("tokenizer_config.json", "chat_template.json")]
    return "\n".join([file.read_text() for file in files if file.is_file()] + [str(text) for text in saved if text])


def _has_places(template: str) -> bool:
    """Whether a template knows the roles of a pair by their names. One for any role would suit every chat model."""
    return all(re.search(rf"""['"]{role}\\?['"]""", template) for role in ("query", "document"))


def _was_saved_as_reranker(folder: Path, template: str) -> bool:
    """Whether sentence-transformers saved it as a cross-encoder with a template, with which it was trained then."""
    return bool(template) and (folder / "modules.json").is_file()


def _is_qwen3_reranker(folder: Path, config: dict[str, Any], own: str, settings: LocalModel) -> bool:
    """Whether the model is Qwen3-Reranker, by its name, its card or its settings, or a conversion into a classifier.

    Chat models have the same files otherwise. A classifier with one label and a chat model's template is a conversion.
    """
    architecture = first_architecture(config)
    if architecture not in {"Qwen3ForCausalLM", "Qwen3ForSequenceClassification"}:
        return False
    card = folder / MODEL_CARD
    names = [Path(settings.path).name, str(config.get("_name_or_path", ""))]
    names += [card.read_text(errors="replace")[:MAX_CARD_CHARACTERS]] if card.is_file() else []
    is_named = any(map(QWEN3_RERANKER.search, names)) or config.get("is_original_qwen3_reranker") is True
    is_conversion = architecture != "Qwen3ForCausalLM" and bool(own) and len(config.get("id2label", "01")) == 1
    return is_named or is_conversion
