"""The part of benchmarks/local.py that asks whether a text's score depends on the texts in its batch."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from benchmarks.local_setup import documents, open_backend, rank

TEXTS = 24


async def company(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """Largest change of a score by company in its batch: 24 documents, alone and in one request."""
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, path in (("encoder", model), ("causal", build_causal(Path(folder), documents(options, TEXTS)))):
            for dtype in ("float32", "bfloat16", "int8"):
                result[f"{name} {dtype}"] = await largest_change(options, path, dtype)
    for name, figure in result.items():
        print(f"  {name:20}{figure:10.1e}")
    return result


async def largest_change(options: argparse.Namespace, model: Path, dtype: str) -> float:
    """The largest difference between a document's score alone and among all."""
    texts = documents(options, TEXTS)
    backend = open_backend(options, model, dtype=dtype)
    alone = [(await rank(backend, [text]))[0] for text in texts]
    together = await rank(backend, texts)
    await backend.aclose()
    return max(abs(one - other) for one, other in zip(alone, together, strict=True))


def build_causal(folder: Path, texts: list[str]) -> Path:
    """Qwen3 in small (8 layers, 512 wide) with seeded weights; its folder's name says that it is a reranker."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "yes", "no"]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1_000, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(texts, trainer)
    names = {"pad_token": special[0], "eos_token": special[2], "model_max_length": 2048}
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        tokenizer_object=raw, model_input_names=["input_ids", "attention_mask"], **names
    )
    heads = {"num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 2048}
    shape = {"hidden_size": 512, "num_hidden_layers": 8, "intermediate_size": 1536, "initializer_range": 0.04}
    torch.manual_seed(0)
    net = Qwen3ForCausalLM(
        Qwen3Config(vocab_size=len(tokenizer), pad_token_id=0, eos_token_id=2, bos_token_id=0, **shape, **heads)
    )
    target = folder / "Qwen3-Reranker-seeded"
    net.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target
