"""The forward pass of a loaded model, and a cross-encoder: from token ids to scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain
from math import inf, isfinite, nextafter
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.model import BaseModel
from torch import Tensor, nn

from providers.errors import NotReady
from providers.local.allocator import return_freed_memory
from providers.local.control_tokens import refuse_control_tokens
from providers.local.engine import TextRequest
from providers.local.fair_lock import FairLock
from providers.local.int8 import is_quantized
from providers.local.lexical import LOGIT_UNIT, in_mid_text, lexical_term
from providers.local.reading import Reading
from providers.local.tokens import (
    PROBE,
    EncodedRequest,
    LongDocuments,
    PlainTokenizer,
    RequestTokenizer,
    TemplateTokenizer,
    Tokens,
    cut_to_read,
    encode,
)
from providers.spec import LocalModel
from providers.types import ScoreSpace

CPU_LOCK = FairLock()
"""Models on the CPU compute one batch at a time, in the order they ask: two at once would fight for the cores."""

WARM_TOKENS, WARM_SHORT_TOKENS = 512, 8
"""Tokens of the long texts of the warm-up, and of the short one beside them."""

MAX_PADDING_DIFFERENCE = 1e-2
"""How much a row may change in float32, beside a longer one: less than a hundredth of its largest number, or of 1."""

WIDTH_STEP = 16
"""Widths on the CPU in 16-bit formats are rounded up to 16 tokens, and beyond 512 by less than a sixteenth.

oneDNN compiles code for every shape it meets and keeps it, up to 2 MiB each. Without rounding, new widths filled memory
batch by batch and took time to compile (figures in docs/local-engine.md). In float32 torch computes with MKL, which
compiles nothing.
"""

ACTIVATIONS = {"sigmoid": nn.Sigmoid(), "none": nn.Identity()}


class LoadedModel:
    """What cross-encoders and embedding models have in common: window, padding, forward pass.

    Attributes:
        output: which of the pipeline's outputs is wanted.
        pipeline_options: for each group of inputs, what the pipeline gets beside tensors.
        on_gpu: whether the device works by itself, so that `launch` returns before it is done.
        window: how many tokens the model reads at once.
    """

    output: str
    pipeline_options: list[dict[str, Any]]

    def __init__(self, net: BaseModel, settings: LocalModel) -> None:
        self.net = net.eval()
        self.device = torch.device(net.device)
        self.on_gpu = self.device.type != "cpu"
        self.compiles_shapes = not self.on_gpu and next(net.parameters()).dtype != torch.float32
        self.tokenizer = net.tokenizer
        self.window = resolve_window(net, settings.max_length)
        self.long_documents: LongDocuments = settings.long_documents
        self.typed = "token_type_ids" in self.tokenizer.model_input_names
        self.pads_left = self.tokenizer.padding_side == "left"

    def width(self, size: int) -> int:
        """How many tokens an input of `size` tokens takes up, with padding. Rounded up where shapes are compiled."""
        return min(max(self.window, size), round_up(size)) if self.compiles_shapes else size

    def launch(self, texts: Sequence[Tokens]) -> Tensor:
        """Start the forward pass of inputs of one group; a GPU goes on by itself. Raises MemoryError.

        Returns:
            Logits of shape (inputs, labels), or embeddings of shape (inputs, dimensions), in float32 on the device.
        """
        options = self.pipeline_options[texts[0].group]
        with memory_errors(), nullcontext() if self.on_gpu else CPU_LOCK, torch.inference_mode():
            features = {name: rows.to(self.device, non_blocking=True) for name, rows in self._padded(texts).items()}
            task = {"task": options["task"]} if "task" in options else {}
            out: Tensor = self.net({**features, **options}, **task)[self.output]
            return out.float()

    def collect(self, handle: Tensor) -> list[Any]:
        """Wait for the device. Returns one row per input: logits, or an embedding. Raises MemoryError."""
        with memory_errors():
            return list(handle.cpu().numpy())

    def warm_up(self, budget: int) -> None:
        """Compute a batch of `budget` tokens and a short text, so that the first caller meets a warm model.

        Raises:
            NotReady: if the model's numbers are not finite, or depend on the padding.
        """
        size = max(2, min(self.window, budget // 2, WARM_TOKENS))
        long, short = self._probe(size), self._probe(min(WARM_SHORT_TOKENS, size - 1))
        together = self.collect(self.launch([long] * max(1, budget // size - 1) + [short]))
        is_exact = next(self.net.parameters()).dtype == torch.float32 and not is_quantized(self.net)
        check_rows(together, self.collect(self.launch([short]))[0], exact=is_exact)

    def _probe(self, size: int) -> Tokens:
        ids = self.tokenizer(PROBE, add_special_tokens=False)["input_ids"]
        return Tokens((ids * size)[:size], [0] * size if self.typed else None)

    def release(self) -> None:
        """Free the memory now. Nothing of the model can be used afterwards.

        Modules refer to each other in circles, and what `gc.freeze` has seen is never collected. So this cuts them.
        """
        on_gpu, modules = self.on_gpu, list(self.net.modules())
        for holder in (self, *modules):
            holder.__dict__.clear()
        if on_gpu and torch.cuda.is_available():
            torch.cuda.empty_cache()
        return_freed_memory()

    def _reading(self, request: TextRequest, check: Callable[[], None]) -> Reading:
        return Reading(self.window, request.tokens_per_document(self.window, self.long_documents), check)

    def _padded(self, texts: Sequence[Tokens]) -> dict[str, Tensor]:
        width = self.width(max(len(text.ids) for text in texts))
        rows = {
            "input_ids": self._block([text.ids for text in texts], width, self.tokenizer.pad_token_id),
            "attention_mask": self._block([[1] * len(text.ids) for text in texts], width, 0),
        }
        if self.typed:
            rows["token_type_ids"] = self._block([text.types or [] for text in texts], width, 0)
        return rows

    def _block(self, rows: list[list[int]], width: int, fill: int) -> Tensor:
        block = np.full((len(rows), width), fill, dtype=np.int64)
        for number, row in enumerate(rows):
            block[number, width - len(row) if self.pads_left else 0 : width if self.pads_left else len(row)] = row
        return torch.from_numpy(block)

    def _tokenizer_for(self, *, paired: bool, prompt: str | None, task: str | None = None) -> RequestTokenizer:
        """The fast tokenizer alone where texts go in as they are; else what sentence-transformers makes of them."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is not None and task is None and "message" not in self.net.modalities:
            return PlainTokenizer(backend, typed=self.typed, paired=paired, prompt=prompt or "")

        def ids(texts: Sequence[Any], prompt: str | None) -> list[list[int]]:
            uncut = {"text": {"truncation": False}}
            features = self.net.preprocess(texts, prompt=prompt, processing_kwargs=uncut, task=task)
            masks = features["attention_mask"].bool()
            return [row[mask].tolist() for row, mask in zip(features["input_ids"], masks, strict=True)]

        expected = ids([(PROBE, PROBE) if paired else PROBE], prompt)[0]

        def render(texts: Sequence[Any], prompt: str | None) -> list[list[int]]:
            rows = ids(texts, prompt)
            refuse_control_tokens(self.tokenizer, rows, expected)
            return rows

        return TemplateTokenizer(render, prompt=prompt, typed=self.typed, paired=paired)

    def _options_for(self, probe: Any, prompt: str | None, task: str | None = None) -> dict[str, Any]:
        """What sentence-transformers gives the pipeline for such an input, beside tensors.

        It sets the tokenizer's truncation, so it must run before `_tokenizer_for` switches that off.
        """
        features = self.net.preprocess([probe], prompt=prompt, task=task)
        plain = {name: value for name, value in features.items() if not isinstance(value, Tensor)}
        return plain | ({"task": task} if task else {})


class CrossEncoderModel(LoadedModel):
    """A cross-encoder: a classifier over the pair, or a causal model asked for yes or no."""

    output = "scores"
    cache = None

    def __init__(self, net: CrossEncoder, settings: LocalModel) -> None:
        super().__init__(net, settings)
        self.column = score_column(net, settings.label)
        if settings.vector_cache_bytes is not None:
            raise NotReady("a cross-encoder has no vectors of documents: leave `vector_cache_bytes` out")
        self.lexical = lexical_term(self.tokenizer, settings, LOGIT_UNIT)
        self.activation: Any = ACTIVATIONS.get(settings.activation) or net.activation_fn
        if isinstance(self.activation, nn.Module):
            self.activation.to("cpu", torch.float64)
        prompt = net.prompts.get(net.default_prompt_name or "")
        self.score_space = score_space_of(self.activation, net.num_labels)
        self.pipeline_options = [self._options_for((PROBE, PROBE), prompt)]
        self._tokenize = self._tokenizer_for(paired=True, prompt=prompt)
        self.takes_instruction = self._tokenize.takes_instruction

    def encode(self, request: TextRequest, check: Callable[[], None]) -> EncodedRequest:
        reading = self._reading(request, check)
        texts = self._tokenize(request.query, request.documents, request.instruction, reading)
        texts = cut_to_read(texts, self.window, request.max_tokens_per_doc, self.long_documents)
        encoded = encode(texts, self.window)
        encoded.raw_scores = request.raw_scores
        if self.lexical is not None:
            query = self._tokenize(request.query, [in_mid_text(request.query)], request.instruction, reading.query())
            encoded.add_lexical(self.lexical.weight, self.lexical.score(query.bodies[0], texts.bodies))
        return encoded

    def scores(self, rows: list[Any], encoded: EncodedRequest) -> list[float]:
        """The activation in float64, since in float32 the sigmoid of every logit above 17 is 1."""
        with torch.inference_mode():
            logits = torch.from_numpy(np.stack(rows)).double()
            for own, term in zip(encoded.document_inputs, encoded.lexical or (), strict=False):
                logits[own.start : own.stop, self.column] += term
            active = logits if encoded.raw_scores else self.activation(logits)
        pairs = list(zip(active[:, self.column].tolist(), logits[:, self.column].tolist(), strict=True))
        return separate_scores([max(pairs[own.start : own.stop]) for own in encoded.document_inputs])


def separate_scores(pairs: Sequence[tuple[float, float]]) -> list[float]:
    """Scores that are equal only where the logits are, in the logits' order.

    Where float64 ends too, the least possible difference is made, away from the end of the activation's range.

    Args:
        pairs: score and logit of each document; of more than one the scores grow with the logits.
    """
    # torch computes the last few of a row by other instructions, so equal logits can differ in the score's last bit.
    first: dict[float, float] = {}
    pairs = [(first.setdefault(logit, score), logit) for score, logit in pairs]
    if len({score for score, _ in pairs}) == len(set(pairs)) or not all(map(isfinite, chain.from_iterable(pairs))):
        return [score for score, _ in pairs]
    distinct = sorted(set(pairs))
    low, high = [pair for pair in distinct if pair[0] <= 0], [pair for pair in reversed(distinct) if pair[0] > 0]
    separate = dict(zip(low, _spread(low, inf), strict=True)) | dict(zip(high, _spread(high, -inf), strict=True))
    return [separate[pair] for pair in pairs]


def _spread(pairs: Sequence[tuple[float, float]], towards: float) -> list[float]:
    """The scores of sorted pairs, each at least one step of float64 farther on than the one before."""
    scores: list[float] = []
    for score, _ in pairs:
        step = nextafter(scores[-1], towards) if scores else score
        scores.append(max(score, step) if towards > 0 else min(score, step))
    return scores


def check_rows(together: Sequence[Any], alone: Any, *, exact: bool) -> None:
    """Raises NotReady if numbers are not finite, or the last of `together` is not the row that was computed alone."""
    if not all(np.isfinite(row).all() for row in (*together, alone)):
        raise NotReady("the model computes numbers that are not finite; its files are damaged, or need another `dtype`")
    allowed = MAX_PADDING_DIFFERENCE * max(1.0, float(np.abs(alone).max()))
    if exact and float(np.abs(together[-1] - alone).max()) > allowed:
        raise NotReady("the model's numbers for a text depend on the longer text beside it; configure its `pad_token`")


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raise MemoryError where torch says in its own ways that a device is out of memory."""
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


def round_up(size: int) -> int:
    """The next multiple of 16 tokens, or for large sizes of a power of two between a 32nd and a 16th of the size."""
    step = max(WIDTH_STEP, 1 << size.bit_length() >> 5)
    return -(-size // step) * step


def resolve_window(net: BaseModel, configured: int | None) -> int:
    """How many tokens are read at once: what is configured, else what the model can. Raises NotReady if it cannot."""
    window = min(int(net.max_seq_length or 512), max_positions(net))
    if configured is not None and configured > window:
        raise NotReady(f"`max_length` is {configured}, but the model reads {window} tokens at most")
    return configured or window


def max_positions(net: BaseModel) -> int:
    """How many positions the model has learned, or a huge number if they are not learned.

    RoBERTa's positions start after its padding index.
    """
    for module in net.modules():
        table = getattr(module, "position_embeddings", None)
        if isinstance(table, nn.Embedding):
            return table.num_embeddings - (getattr(table, "padding_idx", None) or -1) - 1
    return 1 << 30


def score_space_of(activation: Any, labels: int) -> ScoreSpace:
    """What a cross-encoder's scores are. Of several labels a logit alone makes no probability."""
    if isinstance(activation, nn.Sigmoid):
        return "probability"
    return "logit" if labels == 1 and isinstance(activation, nn.Identity) else "unknown"


def score_column(net: CrossEncoder, label: str | None) -> int:
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
