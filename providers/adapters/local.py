"""Rerankers inside the gateway: cross-encoders, embedding models and causal rerankers that sentence-transformers loads.

Importing this package imports nothing heavy; torch comes with the first `open`.
"""

from __future__ import annotations

import logging
from time import monotonic

from providers.capabilities import Capabilities
from providers.local.processors import wait_passively
from providers.local.source import problems, weights_size
from providers.spec import LocalModel, LocalProvider
from providers.types import ClosableBackend
from providers.wire.extras import needs

logger = logging.getLogger(__name__)

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""Builds of torch without CUDA, which pip prefers to those of the same version with it."""


def load(model: LocalModel) -> ClosableBackend:
    """Load one model, warm it up and start its engine. Blocks for seconds. Raises NotReady."""
    wait_passively()
    size, start = weights_size(model.path), monotonic()
    shown = f" ({size / 1e6:.0f} MB)" if size else ""
    logger.info("loading %s from %s%s", model.name, model.path, shown, extra=_event("loading", model, bytes=size))
    from providers.local.loading import open_engine

    engine = open_engine(model)
    seconds = round(monotonic() - start, 2)
    logger.info("%s is loaded after %.1f s", model.name, seconds, extra=_event("loaded", model, seconds=seconds))
    return engine


def _event(word: str, model: LocalModel, **fields: object) -> dict[str, object]:
    """What makes a log record an event: a word for programs, and fields of the line."""
    return {"event": word, "fields": {"model": model.name, **fields}}


PROVIDER = LocalProvider(
    name="local",
    fields=frozenset({"max_tokens_per_doc", "priority", "return_spans", "instruction", "use_activation"}),
    logits_by={"use_activation": False},
    missing=needs("local", "torch", "sentence_transformers", options=f"--extra-index-url {CPU_INDEX}"),
    remote="engine",
    problems=problems,
    open=load,
    # What a score is depends on the model and on its `activation`.
    capabilities={"*": Capabilities(scoring="pointwise")},
)
