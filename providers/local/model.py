"""The forward pass of a loaded model: padding, launching, scores. With `loading`, the only importer of torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.model import BaseModel
from sentence_transformers.base.modules import Router
from torch import Tensor, nn

from providers.errors import NotReady, Unsupported
from providers.local.engine import Work
from providers.local.fair_lock import FairLock
from providers.local.tokens import PROBE, Encoded, Framed, Rendered, Tokeniser, Tokens, encode
from providers.spec import LocalModel

CPU_LOCK = FairLock()
"""Models on the CPU compute one batch at a time, in the order they ask: two at once would fight for the cores."""

RAW = 1
"""The group of a cross-encoder's inputs whose logits are wanted as they are."""

STEPS = 16
"""Widths on the CPU in 16-bit formats are rounded up to 16 tokens, and beyond 512 by less than a sixteenth.

oneDNN compiles and keeps code for every shape it meets, up to 2 MiB each: widths of every length filled memory batch by
batch, and took time. In float32 torch computes with MKL, which compiles nothing.
"""

ACTIVATIONS = {"sigmoid": nn.Sigmoid(), "none": nn.Identity()}


class LoadedModel:
    """What cross-encoders and embedding models have in common: window, padding, forward pass.

    Attributes:
        output: which of the pipeline's outputs is wanted.
        told: for each group of inputs, what the pipeline is told beside tensors.
        window: how many tokens the model reads.
    """

    output: str
    pipeline_options: list[dict[str, Any]]

    def __init__(self, net: BaseModel, settings: LocalModel) -> None:
        self.net = net.eval()
        self.device = torch.device(net.device)
        self.on_gpu = self.device.type != "cpu"
        self.compiles = not self.on_gpu and next(net.parameters()).dtype != torch.float32
        self.tokenizer = net.tokenizer
        self.window = window_of(net, settings.max_length)
        self.long = settings.long_documents
        self.typed = "token_type_ids" in self.tokenizer.model_input_names
        self.left = self.tokenizer.padding_side == "left"

    def width(self, size: int) -> int:
        """How many tokens a text of `size` tokens takes up, padding included: one of few where shapes are compiled."""
        return min(max(self.window, size), rounded(size)) if self.compiles else size

    def launch(self, texts: Sequence[Tokens]) -> Tensor:
        """Pad, move, and start the forward pass; a GPU goes on by itself. Raises MemoryError."""
        told = self.pipeline_options[texts[0].group]
        with memory_errors(), nullcontext() if self.on_gpu else CPU_LOCK, torch.inference_mode():
            features = {name: rows.to(self.device, non_blocking=True) for name, rows in self._padded(texts).items()}
            task = {"task": told["task"]} if "task" in told else {}
            return self._finished(self.net({**features, **told}, **task)[self.output].float(), texts[0].group)

    def collect(self, handle: Tensor) -> list[Any]:
        """Wait for the device; one row per text. Raises MemoryError."""
        with memory_errors():
            return list(handle.cpu().numpy())

    def warm_up(self, budget: int) -> None:
        """A full batch and a short text, so that the first caller meets a warm model."""
        size = min(self.window, budget, 512)
        word = self.tokenizer.unk_token_id or 0
        for length, count in ((size, max(1, budget // size)), (min(8, size), 1)):
            text = Tokens([word] * length, [0] * length if self.typed else None)
            self.collect(self.launch([text] * count))

    def _finished(self, out: Tensor, group: int) -> Tensor:
        return out

    def _padded(self, texts: Sequence[Tokens]) -> dict[str, Tensor]:
        width = self.width(max(len(text.ids) for text in texts))
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

    def _tokeniser(self, *, paired: bool, prompt: str | None, task: str | None = None) -> Tokeniser:
        """The quick way for a plain tokenizer; whatever else sentence-transformers can prepare goes its way."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is not None and task is None and "message" not in self.net.modalities:
            return Framed(backend, typed=self.typed, paired=paired, prompt=prompt or "")

        def render(texts: Sequence[Any], prompt: str | None) -> list[list[int]]:
            uncut = {"text": {"truncation": False}}
            features = self.net.preprocess(texts, prompt=prompt, processing_kwargs=uncut, task=task)
            masks = features["attention_mask"].bool()
            return [row[mask].tolist() for row, mask in zip(features["input_ids"], masks, strict=True)]

        return Rendered(render, prompt=prompt, typed=self.typed, paired=paired)

    def _told(self, probe: Any, prompt: str | None, task: str | None = None) -> dict[str, Any]:
        """What sentence-transformers would tell the pipeline about such an input, tensors left out.

        It sets the tokenizer's truncation, so it must run before `_tokeniser` switches that off.
        """
        features = self.net.preprocess([probe], prompt=prompt, task=task)
        plain = {name: value for name, value in features.items() if not isinstance(value, Tensor)}
        return plain | ({"task": task} if task else {})


class CrossEncoderModel(LoadedModel):
    """A cross-encoder: a classifier over the pair, or a causal model asked for yes or no."""

    output = "scores"

    def __init__(self, net: CrossEncoder, settings: LocalModel) -> None:
        super().__init__(net, settings)
        self.column = column_of(net, settings.label)
        self.activation: Any = ACTIVATIONS.get(settings.activation) or net.activation_fn
        prompt = net.prompts.get(net.default_prompt_name or "")
        self.pipeline_options = [self._told((PROBE, PROBE), prompt)] * 2
        self.split = self._tokeniser(paired=True, prompt=prompt)

    def encode(self, work: Work) -> Encoded:
        split = self.split(work.query, work.documents, work.instruction)
        return encode(split, self.window, work.limit, self.long, RAW if work.raw else 0)

    def scores(self, rows: list[Any], encoded: Encoded) -> list[float]:
        return [max(float(rows[place]) for place in places) for places in encoded.owners]

    def _finished(self, out: Tensor, group: int) -> Tensor:
        active: Tensor = out if group == RAW else self.activation(out)
        return active[:, self.column]


class EmbeddingModel(LoadedModel):
    """An embedding model: query and documents are read apart, and compared by the cosine of their vectors."""

    output = "sentence_embedding"

    def __init__(self, net: SentenceTransformer, settings: LocalModel) -> None:
        super().__init__(net, settings)
        if settings.activation != "default" or settings.label is not None:
            raise NotReady("the model is an embedding model, scored by cosine: leave `activation` and `label` out")
        tasks = ("query", "document") if any(isinstance(module, Router) for module in net) else (None, None)
        asked, read = prompt_of(net, "query"), prompt_of(net, "document", "passage", "corpus")
        self.pipeline_options = [self._told(PROBE, asked, tasks[0]), self._told(PROBE, read, tasks[1])]
        if not tells_apart(net):
            self.pipeline_options = self.pipeline_options[:1]
        self.query = self._tokeniser(paired=False, prompt=asked, task=tasks[0])
        self.document = self._tokeniser(paired=False, prompt=read, task=tasks[1])

    def encode(self, work: Work) -> Encoded:
        split = self.document("", work.documents, work.instruction)
        encoded = encode(split, self.window, work.limit, self.long, len(self.pipeline_options) - 1)
        asked = encode(self.query("", [work.query], None), self.window, None, "truncate")
        if asked.truncated:
            raise Unsupported(f"the query is longer than the {self.window} tokens that this model reads; shorten it")
        encoded.query = len(encoded.texts)
        encoded.texts.extend(asked.texts)
        return encoded

    def scores(self, rows: list[Any], encoded: Encoded) -> list[float]:
        vectors = np.stack(rows).astype(np.float64)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        cosines = vectors @ vectors[encoded.query]
        return [float(cosines[places.start : places.stop].max()) for places in encoded.owners]


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn a device's way of being out of memory into MemoryError."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise MemoryError from error
    except RuntimeError as error:
        if "allocate memory" not in str(error):
            raise
        raise MemoryError from error


def rounded(size: int) -> int:
    """The next multiple of 16 tokens, or of a power of two that is between a 32nd and a 16th of the size."""
    step = max(STEPS, 1 << size.bit_length() >> 5)
    return -(-size // step) * step


def window_of(net: BaseModel, wanted: int | None) -> int:
    """How many tokens the model reads. Raises NotReady if more are wanted."""
    window = min(int(net.max_seq_length or 512), positions_of(net))
    if wanted is not None and wanted > window:
        raise NotReady(f"`max_length` is {wanted}, but the model reads {window} tokens at most")
    return wanted or window


def positions_of(net: BaseModel) -> int:
    """How many positions the model has learned; RoBERTa's start behind its padding index."""
    for module in net.modules():
        table = getattr(module, "position_embeddings", None)
        if isinstance(table, nn.Embedding):
            return table.num_embeddings - (getattr(table, "padding_idx", None) or -1) - 1
    return 1 << 30


def column_of(net: CrossEncoder, label: str | None) -> int:
    """Which column of the model's output is the score. Raises NotReady if that must be configured or is unknown."""
    count = net.num_labels
    if count == 1:
        return 0
    names = list(((net.config.id2label if net.config else None) or {}).values())[:count]
    if label is None:
        raise NotReady(f"the model has several labels; configure `label` as one of {', '.join(names)}")
    if label in names:
        return names.index(label)
    raise NotReady(f'the model has no label "{label}"; it has {", ".join(names)}')


def prompt_of(net: SentenceTransformer, *names: str) -> str | None:
    """The prompt that `encode_query` or `encode_document` would put first."""
    name = next((name for name in names if name in net.prompts), net.default_prompt_name)
    return net.prompts.get(name or "") or None


def tells_apart(net: SentenceTransformer) -> bool:
    """Whether the pipeline treats queries unlike documents: by other layers, or by a prompt that pooling leaves out."""
    return any(isinstance(module, Router) or getattr(module, "include_prompt", True) is False for module in net)
