"""Loading and the forward pass: with `rendering`, the only module that imports torch and sentence_transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.model import BaseModel
from sentence_transformers.base.modules import Router
from torch import Tensor, nn

from providers.errors import NotReady, RerankError, Unsupported
from providers.local.batcher import Batcher
from providers.local.engine import Engine
from providers.local.source import fetch
from providers.local.tokens import Encoded, Framed, Rendered, Tokeniser, Tokens, encode
from providers.spec import LocalModel
from providers.types import Backend

CPU_BATCH, GPU_BATCH = 1_024, 16_384
QUEUED_BATCHES = 256
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ACTIVATIONS = {"sigmoid": nn.Sigmoid(), "none": nn.Identity()}


def open_engine(settings: LocalModel) -> Backend:
    """Load, verify, warm up, serve. Raises NotReady with what to change."""
    try:
        loaded = load(settings)
        budget = settings.batch_tokens or (GPU_BATCH if loaded.on_gpu else CPU_BATCH)
        loaded.warm_up(budget)
    except RerankError:
        raise
    except Exception as error:
        raise NotReady(f'the model "{settings.path}" could not be loaded: {type(error).__name__}: {error}') from error
    limit = settings.queue_tokens or QUEUED_BATCHES * budget
    batcher = Batcher(loaded, budget=budget, limit=limit, ahead=loaded.on_gpu)
    batcher.start()
    return Engine(loaded, batcher)


def load(settings: LocalModel) -> Crosser | Embedder:
    """The model on its device, in its dtype, ready to compute. Raises NotReady or whatever the libraries raise."""
    folder = fetch(settings)
    device = pick_device(settings.device)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    options: dict[str, Any] = {
        "device": str(device),
        "trust_remote_code": settings.trust_remote_code,
        "local_files_only": True,
        "model_kwargs": {"dtype": pick_dtype(settings.dtype, device)},
    }
    if is_embedding(folder):
        return Embedder(SentenceTransformer(str(folder), **options), settings)
    return Crosser(CrossEncoder(str(folder), **options), settings)


def is_embedding(folder: Path) -> bool:
    """Whether the files are those of an embedding model, as sentence-transformers tells them apart."""
    if (folder / "modules.json").is_file():
        saved = folder / "config_sentence_transformers.json"
        kind = json.loads(saved.read_bytes()).get("model_type", "SentenceTransformer") if saved.is_file() else ""
        if kind not in {"", "SentenceTransformer", "CrossEncoder"}:
            raise NotReady(f"the model is a {kind}; only cross-encoders and embedding models are served")
        return bool(kind != "CrossEncoder")
    architecture = (json.loads((folder / "config.json").read_bytes()).get("architectures") or [""])[0]
    return not architecture.endswith(("ForSequenceClassification", "ForCausalLM"))


def pick_device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if computes_bfloat16(device) else torch.float32
    return DTYPES[name]


def computes_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is native there: a GPU that says so, or a CPU with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    features = torch.cpu.get_capabilities()
    return device.type == "cpu" and bool(features.get("avx512_bf16") or features.get("amx_bf16"))


class Loaded:
    """What cross-encoders and embedding models have in common: window, padding, forward pass."""

    output: str
    groups: list[dict[str, Any]] = [{}]
    """For each group of inputs, what the forward pass is told beside the tensors."""

    def __init__(self, net: BaseModel, settings: LocalModel) -> None:
        self.net = net.eval()
        self.settings = settings
        self.device = torch.device(net.device)
        self.on_gpu = self.device.type == "cuda"
        self.tokenizer = net.tokenizer
        self.window = window_of(net, settings.max_length)
        self.typed = "token_type_ids" in self.tokenizer.model_input_names
        self.left = self.tokenizer.padding_side == "left"

    def launch(self, texts: Sequence[Tokens]) -> Tensor:
        """Pad, move, and start the forward pass."""
        features = {name: rows.to(self.device, non_blocking=True) for name, rows in self._padded(texts).items()}
        try:
            with torch.inference_mode():
                told = self.groups[texts[0].group]
                out: Tensor = self.net({**features, **told}, **_routed(told))[self.output]
                return self._finished(out.float())
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError from error

    def collect(self, handle: Tensor) -> list[Any]:
        """Wait for the device; one row per text."""
        try:
            return list(handle.cpu().numpy())
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError from error

    def warm_up(self, budget: int) -> None:
        """One batch at the budget and one text alone, so that the first caller meets a warm model."""
        room = min(self.window, budget, 512)
        word = self.tokenizer.unk_token_id or 0
        for size, count in ((room, max(1, budget // room)), (8, 1)):
            text = Tokens([word] * size, [0] * size if self.typed else None)
            self.collect(self.launch([text] * count))

    def _finished(self, out: Tensor) -> Tensor:
        return out

    def _padded(self, texts: Sequence[Tokens]) -> dict[str, Tensor]:
        width = max(len(text.ids) for text in texts)
        rows = {
            "input_ids": self._block([text.ids for text in texts], width, self.tokenizer.pad_token_id or 0),
            "attention_mask": self._block([[1] * len(text.ids) for text in texts], width, 0),
        }
        if self.typed:
            rows["token_type_ids"] = self._block([text.types or [] for text in texts], width, 0)
        return rows

    def _block(self, rows: list[list[int]], width: int, fill: int) -> Tensor:
        block = np.full((len(rows), width), fill, dtype=np.int64)
        for number, row in enumerate(rows):
            block[number, width - len(row) if self.left else 0 : width if self.left else len(row)] = row
        return torch.from_numpy(block)


def _routed(told: dict[str, Any]) -> dict[str, Any]:
    return {"task": told["task"]} if "task" in told else {}


class Crosser(Loaded):
    """A cross-encoder: a classifier over the pair, or a causal model asked for yes or no."""

    output = "scores"

    def __init__(self, net: CrossEncoder, settings: LocalModel) -> None:
        super().__init__(net, settings)
        chat = "message" in net.modalities
        self.groups = [{"modality": "message" if chat else "text", "logits_to_keep": 1}]
        self.column = column_of(net, settings.label)
        if next(net.parameters()).dtype != torch.float32:
            net.set_keep_in_fp32_modules(heads_of(net))
        self.activation: Any = ACTIVATIONS.get(settings.activation) or net.activation_fn
        prompt = net._resolve_prompt(None, None)
        self.split: Tokeniser = (
            Rendered(self._render, prompt=prompt, typed=self.typed)
            if chat
            else Framed(self.tokenizer.backend_tokenizer, typed=self.typed, paired=True, prompt=prompt or "")
        )

    def encode(self, query: str, documents: list[str], limit: int | None, instruction: str | None) -> Encoded:
        return encode(self.split(query, documents, instruction), self.window, limit, self.settings.long_documents)

    def scores(self, rows: list[Any], encoded: Encoded) -> list[float]:
        return [max(float(rows[place]) for place in places) for places in encoded.owners]

    def _finished(self, out: Tensor) -> Tensor:
        active: Tensor = self.activation(out)
        return active[:, self.column]

    def _render(self, pairs: list[Any], instruction: str | None) -> list[list[int]]:
        uncut = {"text": {"truncation": False}}
        features = self.net.preprocess(pairs, prompt=instruction, processing_kwargs=uncut)
        masks = features["attention_mask"].bool()
        return [row[mask].tolist() for row, mask in zip(features["input_ids"], masks, strict=True)]


class Embedder(Loaded):
    """An embedding model: query and documents are read apart, and compared by the cosine of their vectors."""

    output = "sentence_embedding"

    def __init__(self, net: SentenceTransformer, settings: LocalModel) -> None:
        super().__init__(net, settings)
        backend = self.tokenizer.backend_tokenizer
        self.query = Framed(backend, typed=self.typed, paired=False, prompt=prompt_of(net, "query"))
        self.document = Framed(
            backend, typed=self.typed, paired=False, prompt=prompt_of(net, "document", "passage", "corpus")
        )
        # Query and documents share batches, unless the model routes them through different layers.
        routed = any(isinstance(module, Router) for module in net)
        self.groups = [{"task": "query"}, {"task": "document"}] if routed else [{}]

    def encode(self, query: str, documents: list[str], limit: int | None, instruction: str | None) -> Encoded:
        split, last = self.document(query, documents, instruction), len(self.groups) - 1
        encoded = encode(split, self.window, limit, self.settings.long_documents, last)
        asked = encode(self.query(query, [query], None), self.window, None, "truncate")
        if asked.truncated:
            raise Unsupported(f"the query is longer than the {self.window} tokens this model reads; shorten it")
        encoded.query = len(encoded.texts)
        encoded.texts.extend(asked.texts)
        return encoded

    def scores(self, rows: list[Any], encoded: Encoded) -> list[float]:
        vectors = np.stack(rows).astype(np.float64)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        cosines = vectors @ vectors[encoded.query]
        return [float(cosines[places.start : places.stop].max()) for places in encoded.owners]


def window_of(net: BaseModel, wanted: int | None) -> int:
    """How many tokens the model reads. Raises NotReady if more are wanted."""
    window = int(net.max_seq_length or 512)
    if wanted is not None and wanted > window:
        raise NotReady(f"max_length is {wanted}, but the model reads {window} tokens at most")
    return wanted or window


def column_of(net: CrossEncoder, label: str | None) -> int:
    """Which column of the model's output is the score. Raises NotReady if that must be configured or is unknown."""
    count = net.num_labels
    names = list(((net.config.id2label if net.config else None) or {}).values())[:count]
    if count == 1:
        return 0
    if label is None:
        raise NotReady(f"the model has several labels; configure `label` as one of {', '.join(names)}")
    if label in names or (label.isdigit() and int(label) < count):
        return names.index(label) if label in names else int(label)
    raise NotReady(f'the model has no label "{label}"; it has {", ".join(names)}')


def heads_of(net: CrossEncoder) -> list[str]:
    """The one or two layers between the encoder and the score, worth float32: bfloat16 there would tie what differs."""
    outside = [
        (name, module)
        for name, module in net.named_modules()
        if isinstance(module, nn.Linear | nn.LayerNorm) and not any(part.isdigit() for part in name.split(".")[1:])
    ]
    heads = [name for name, module in outside[-2:] if type(module) is nn.Linear]
    return heads if type(outside[-1][1]) is nn.Linear else []


def prompt_of(net: SentenceTransformer, *names: str) -> str:
    """The prompt that `encode_query` or `encode_document` would put first."""
    own = next((net.prompts[name] for name in names if net.prompts.get(name)), None)
    return own or net._resolve_prompt(None, None) or ""
