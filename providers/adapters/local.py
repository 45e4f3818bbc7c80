"""Rerankers inside the gateway: cross-encoders, embedding models and causal rerankers that sentence-transformers loads.

Importing this package imports nothing heavy; torch comes with the first `open`.
"""

from __future__ import annotations

from providers.capabilities import Capabilities
from providers.local.processors import wait_passively
from providers.local.source import problems
from providers.spec import LocalModel, LocalProvider
from providers.types import ClosableBackend
from providers.wire.extras import needs

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""Builds of torch without CUDA, which pip prefers to those of the same version with it."""


def load(model: LocalModel) -> ClosableBackend:
    """Load one model, warm it up and start its engine. Blocks for seconds. Raises NotReady."""
    wait_passively()
    from providers.local.loading import open_engine

    return open_engine(model)


PROVIDER = LocalProvider(
    name="local",
    fields=frozenset({"max_tokens_per_doc", "priority", "instruction", "use_activation"}),
    missing=needs("local", "torch", "sentence_transformers", options=f"--extra-index-url {CPU_INDEX}"),
    problems=problems,
    open=load,
    # What a score is depends on the model and on its `activation`.
    capabilities={"*": Capabilities(scoring="pointwise")},
)
