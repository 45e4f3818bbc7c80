"""Rerankers inside the gateway: cross-encoders, embedding models and causal rerankers that sentence-transformers loads.

Importing this package imports nothing heavy; torch comes with the first `open`.
"""

from __future__ import annotations

from importlib.util import find_spec

from providers.capabilities import Capabilities
from providers.local.source import problems
from providers.spec import LocalModel, LocalProvider
from providers.types import ClosableBackend

INSTALL = 'pip install "rerank-gateway[local]"'
NEEDED = ("torch", "sentence_transformers")


def missing() -> str:
    """The command that installs what is missing; "" when all is there."""
    return INSTALL if any(find_spec(name) is None for name in NEEDED) else ""


def load(model: LocalModel) -> ClosableBackend:
    """Load one model, warm it up and start its engine. Blocks for seconds. Raises NotReady."""
    from providers.local.loading import open_engine

    return open_engine(model)


PROVIDER = LocalProvider(
    name="local",
    fields=frozenset({"max_tokens_per_doc", "priority", "instruction", "use_activation"}),
    missing=missing,
    problems=problems,
    open=load,
    # What a score is depends on the model and on its `activation`.
    capabilities={"*": Capabilities(scoring="pointwise")},
)
