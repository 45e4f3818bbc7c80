"""Tiny models, built here with seeded weights and tokenizers trained on the spot: nothing is downloaded."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from providers.adapters.local import PROVIDER
from providers.spec import LocalModel
from providers.types import Backend, Ranking, RerankRequest

torch.set_num_threads(1)

WORDS = tuple("wing lift drag shock layer heat flow mach body plate cone jet wave edge speed of the a in".split())  # noqa: SIM905  a list of words reads worse
QUERY = "lift of the wing in flow"
WINDOW = 96

TEMPLATE = (
    "{% for m in messages if m.role == 'system' %}<|im_start|>system\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>user\n"
    "{% for m in messages if m.role == 'query' %}<Query>: {{ m.content }}\n{% endfor %}"
    "{% for m in messages if m.role == 'document' %}<Document>: {{ m.content }}{% endfor %}"
    "<|im_end|>\n<|im_start|>assistant\n"
)


def text(count: int, seed: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=count))


DOCUMENTS = [text(3 + 7 * number % 40, number) for number in range(24)] + [
    "Two  spaces,\n a LINE and é!",
    text(300, 99),
]


def wordpiece() -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer()
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    raw.train_from_iterator(DOCUMENTS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
    raw.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    kinds = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=raw, model_input_names=kinds, model_max_length=WINDOW, **names)


def unigram() -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.Unigram())
    raw.normalizer = normalizers.NFKC()
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=special, unk_token="<unk>", show_progress=False)
    raw.train_from_iterator(DOCUMENTS, trainer)
    raw.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=False)
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    kinds = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=raw, model_input_names=kinds, **names)


def byte_level(*special: str, **names: str) -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator([*DOCUMENTS, "yes no yes no", " yes no", "yes", "no"], trainer)
    if "[CLS]" in special:
        raw.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
    kinds = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=raw, model_input_names=kinds, model_max_length=2 * WINDOW, **names)


SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
ROOMY = {**SHAPE, "max_position_embeddings": 4 * WINDOW}


def saved(folder: Path, kind: str, tokenizer: PreTrainedTokenizerFast, **config: Any) -> Path:
    """A model of the class `kind` with seeded weights, large enough that scores differ."""
    torch.manual_seed(7)
    model_class = getattr(transformers, kind)
    model = model_class(model_class.config_class(vocab_size=len(tokenizer), **config))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.15) if weight.ndim > 1 else None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def bert(folder: Path, **config: Any) -> Path:
    return saved(folder, "BertForSequenceClassification", wordpiece(), **{**ROOMY, "num_labels": 1, **config})


def xlm_roberta(folder: Path) -> Path:
    config = {**SHAPE, "max_position_embeddings": WINDOW + 2, "type_vocab_size": 1, "num_labels": 1, "pad_token_id": 1}
    tokenizer = unigram()
    tokenizer.model_max_length = WINDOW
    return saved(folder, "XLMRobertaForSequenceClassification", tokenizer, **config)


def modernbert(folder: Path) -> Path:
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = byte_level("[PAD]", "[CLS]", "[SEP]", **names)
    special = {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}
    local = {"local_attention": 16, "global_attn_every_n_layers": 2}
    return saved(folder, "ModernBertForSequenceClassification", tokenizer, **ROOMY, **special, **local, num_labels=1)


def qwen(
    folder: Path,
    template: str | None = TEMPLATE,
    kind: str = "Qwen3ForCausalLM",
    size: int = 2 * WINDOW,
    **config: Any,
) -> Path:
    names = {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    tokenizer = byte_level("<|endoftext|>", "<|im_start|>", "<|im_end|>", **names)
    tokenizer.add_tokens([word for word in ("yes", "no") if word not in tokenizer.get_vocab()])
    tokenizer.chat_template, tokenizer.model_max_length = template, size
    small = {"num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0, "eos_token_id": 2, "bos_token_id": 0}
    shape = {**SHAPE, "max_position_embeddings": size}
    return saved(folder, kind, tokenizer, **shape, **small, tie_word_embeddings=True, **config)


def qwen3_reranker(folder: Path, **options: Any) -> Path:
    """A model whose folder says that it is Qwen3-Reranker."""
    return qwen(folder / "Qwen3-Reranker-tiny", **options)


def embedder(folder: Path, query_prompt: str = "query: ", **saved_config: Any) -> Path:
    """Mean pooling, normalised, with a prompt for queries and one for documents."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    saved(folder / "base", "BertModel", wordpiece(), **ROOMY)
    word = Transformer(str(folder / "base"))
    pooling = Pooling(SHAPE["hidden_size"], pooling_mode="mean", **saved_config)
    prompts = {"query": query_prompt, "document": "passage of text: "}
    net = SentenceTransformer(modules=[word, pooling, Normalize()], prompts=prompts, device="cpu")
    net.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Build a model once: build(qwen, template=None) gives its folder."""
    made: dict[str, Path] = {}

    def once(maker: Callable[..., Path], **options: Any) -> Path:
        key = f"{maker.__name__} {json.dumps(options, default=str)}"
        if key not in made:
            made[key] = maker(tmp_path_factory.mktemp(maker.__name__), **options)
        return made[key]

    return once


@asynccontextmanager
async def engine(folder: Path | str, **settings: Any) -> AsyncIterator[Backend]:
    """A running engine over a model, in float32 on the CPU unless told otherwise."""
    backend = PROVIDER.open(
        LocalModel(**{"name": "m", "path": str(folder), "dtype": "float32", "device": "cpu"} | settings)
    )
    async with contextlib.aclosing(backend):
        yield backend


def request(query: str = QUERY, documents: list[Any] | None = None, **fields: Any) -> RerankRequest:
    return RerankRequest(model="m", query=query, documents=documents or list(DOCUMENTS), **fields)


def scores(ranking: Ranking) -> list[float]:
    by_index = sorted(ranking.results, key=lambda ranked: ranked.index)
    return [ranked.relevance_score for ranked in by_index]
