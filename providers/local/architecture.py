"""What kind of model a folder holds, as its own files declare it. Whatever these do not say is refused, not guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES, MODEL_MAPPING_NAMES

from providers.errors import NotReady

CLASSIFIER, CAUSAL = "ForSequenceClassification", "ForCausalLM"

SUPPORTED = (
    f"cross-encoders (…{CLASSIFIER}), causal rerankers (…{CAUSAL}) and embedding models are served; an embedding model"
    " that is no plain encoder such as BertModel has to be saved by sentence-transformers, whose modules.json says how"
    " its vectors are pooled"
)


def is_embedding(folder: Path) -> bool:
    """Whether the files are those of an embedding model; otherwise of a cross-encoder. Raises NotReady for others."""
    if (folder / "modules.json").is_file():
        return _is_saved_embedding(folder)
    config = read_json(folder / "config.json")
    architecture = first_architecture(config)
    if not architecture:
        raise NotReady(
            f'config.json names no class in "architectures", so what the model is cannot be told; {SUPPORTED}'
        )
    if architecture.endswith((CLASSIFIER, CAUSAL)):
        return False
    if not _is_plain_encoder(config, architecture):
        raise NotReady(f"the model is a {architecture}; {SUPPORTED}")
    return True


def first_architecture(config: dict[str, Any]) -> str:
    """The class that the weights were saved from; "" where the configuration does not say."""
    names = config.get("architectures")
    return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""


def read_json(file: Path) -> dict[str, Any]:
    """The object in a file; empty where there is no such file, or something else in it."""
    content = json.loads(file.read_bytes()) if file.is_file() else {}
    return content if isinstance(content, dict) else {}


def _is_saved_embedding(folder: Path) -> bool:
    """As sentence-transformers tells its own files apart."""
    kind = read_json(folder / "config_sentence_transformers.json").get("model_type", "SentenceTransformer")
    if kind not in {"SentenceTransformer", "CrossEncoder"}:
        raise NotReady(f"the model is a {kind}; {SUPPORTED}")
    return bool(kind == "SentenceTransformer")


def _is_plain_encoder(config: dict[str, Any], architecture: str) -> bool:
    """Whether it is a bare encoder of a family trained on masked words, whose vectors can be averaged."""
    family = str(config.get("model_type"))
    known = MODEL_MAPPING_NAMES.get(family, ())
    reads_one_way = config.get("is_encoder_decoder") or config.get("is_decoder")
    is_bare = architecture in ((known,) if isinstance(known, str) else known)
    return bool(is_bare and family in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not reads_one_way)
