"""From settings to a running engine: files, device, number format, kind of model. Imports torch."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.cross_encoder.modules import LogitScore
from torch import nn
from transformers.utils import logging as progress

from providers.errors import NotReady, RerankError
from providers.local.allocator import keep_freed_memory, return_freed_memory
from providers.local.architecture import is_embedding
from providers.local.batcher import Batcher
from providers.local.control_tokens import hide_control_tokens
from providers.local.dequantize import float_weights
from providers.local.embedding import EmbeddingModel
from providers.local.engine import Engine
from providers.local.int8 import is_in_block, quantize_encoder
from providers.local.model import CrossEncoderModel
from providers.local.padding import settle_pad_token
from providers.local.processors import thread_count
from providers.local.queue import FairQueue
from providers.local.source import fetch
from providers.local.templates import template_for
from providers.local.weights import check_weights, load_reports
from providers.spec import LocalModel
from providers.types import ClosableBackend

CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 768, 16_384
"""Tokens of a batch, padding included. Small batches are faster on a CPU, large ones on a GPU.

Figures are in docs/decisions/0010-local-queue.md.
"""

QUEUED_BATCHES = 640
"""Batches that may wait. Half a million tokens on a CPU: a request of 1,000 long documents, and room for more."""

DTYPES = {"int8": torch.float32, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def open_engine(settings: LocalModel) -> ClosableBackend:
    """Load, verify and warm up a model, and start its engine. Raises NotReady with what to change."""
    try:
        loaded = load(settings)
        budget = settings.batch_tokens or (GPU_BATCH_TOKENS if loaded.on_gpu else CPU_BATCH_TOKENS)
        try:
            loaded.warm_up(budget)
        except BaseException:
            loaded.release()
            raise
    except RerankError:
        raise
    except Exception as error:
        raise NotReady(f'the model "{settings.path}" could not be loaded: {type(error).__name__}: {error}') from error
    return_freed_memory()
    queue = FairQueue()
    batcher = Batcher(loaded, queue, max_batch_tokens=budget, launch_ahead=loaded.on_gpu)
    batcher.start()
    return Engine(loaded, queue, batcher, max_queued_tokens=settings.queue_tokens or QUEUED_BATCHES * budget)


def load(settings: LocalModel) -> CrossEncoderModel | EmbeddingModel:
    """The model on its device, in its number format. Raises NotReady, or whatever the libraries raise."""
    folder = fetch(settings)
    keep_freed_memory()
    silence_progress_bars()
    device = pick_device(settings.device)
    dtype = pick_dtype(settings.dtype, device)
    torch.set_num_threads(settings.threads or thread_count(torch.get_num_threads()))
    options: dict[str, Any] = {
        "device": str(device),
        "trust_remote_code": settings.trust_remote_code,
        # What was fetched is verified; the libraries must not fetch more.
        "local_files_only": True,
        "model_kwargs": {"dtype": dtype},
    }
    embeds = is_embedding(folder)
    template = None if embeds else template_for(folder, settings)
    with load_reports(float_weights(folder)) as reports:
        net = open_net(folder, embeds, template, options)
    check_weights(net, reports)
    settle_pad_token(net, settings.pad_token)
    hide_control_tokens(net)
    if settings.dtype == "int8":
        quantize_encoder(net, device)
    if isinstance(net, SentenceTransformer):
        return EmbeddingModel(net, settings)
    prune_output_head(net)
    if dtype != torch.float32:
        net.set_keep_in_fp32_modules(score_layers(net))
    return CrossEncoderModel(net, settings)


def open_net(
    folder: Path, embeds: bool, template: str | None, options: dict[str, Any]
) -> CrossEncoder | SentenceTransformer:
    """The files as sentence-transformers opens them, a cross-encoder with `template` if it needs one."""
    if embeds:
        return SentenceTransformer(str(folder), **options)
    processor = {"chat_template": template} if template else None
    net: CrossEncoder = CrossEncoder(str(folder), **options, processor_kwargs=processor)
    return net


def silence_progress_bars() -> None:
    """Hide the libraries' progress bars about files that are on disk already. A download still shows progress.

    transformers switches off huggingface_hub's bars too, and another model may be downloading, so these go on again.
    """
    were_enabled = not are_progress_bars_disabled()
    progress.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    if were_enabled:
        enable_progress_bars()
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)


def pick_device(name: str) -> torch.device:
    """The named device; for `auto` a GPU if there is one, else the CPU."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The named number format; for `auto` bfloat16 where that is native, else float32; for `int8` float32, in
    which all but the products of the blocks is computed."""
    if name == "auto":
        return torch.bfloat16 if has_native_bfloat16(device) else torch.float32
    return DTYPES[name]


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether the device computes bfloat16 natively: a GPU that says so, a CPU with AVX512-BF16, AMX or Arm's BF16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    features: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.6 does not have it
    return device.type == "cpu" and any(features.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def prune_output_head(net: CrossEncoder) -> None:
    """Of a causal model's output head, keep the rows of its two answers, yes and no, in float32.

    A vocabulary has some 150,000 rows, so this saves most of the head's work, and float32 then costs next to nothing.
    Raises NotReady if the tokenizer lacks an answer: every score would then be that of the same unknown token.
    """
    score = next((module for module in net if isinstance(module, LogitScore)), None)
    model: Any = net.transformers_model
    if score is None or model is None:
        return
    head = model.get_output_embeddings()
    answers = [token for token in (score.true_token_id, score.false_token_id) if token is not None]
    if len(set(answers)) < len(answers) or net.tokenizer.unk_token_id in answers:
        raise NotReady('the tokenizer has no tokens "yes" and "no" for the answers that are compared')
    slim = nn.Linear(head.in_features, len(answers), bias=head.bias is not None, device=net.device)
    with torch.no_grad():
        slim.weight.copy_(head.weight[answers])
        if head.bias is not None:
            slim.bias.copy_(head.bias[answers])
    model.set_output_embeddings(slim.eval())
    score.true_token_id, score.false_token_id = 0, 1 if score.false_token_id is not None else None
    net.set_keep_in_fp32_modules([name for name, module in net.named_modules() if module is slim])


def score_layers(net: CrossEncoder) -> list[str]:
    """The layers between the encoder and the score. Rounded to bfloat16 there, different scores would tie."""
    outside = {
        name: module for name, module in net.named_modules() if not is_in_block(name) and "embedding" not in name
    }
    # A norm beside a layer would be fed float32 with bfloat16 weights, which torch refuses.
    normed = {name.rpartition(".")[0] for name, module in outside.items() if isinstance(module, nn.LayerNorm)}
    linear = [name for name, module in outside.items() if isinstance(module, nn.Linear)]
    return [name for name in linear if name.rpartition(".")[0] not in normed]
