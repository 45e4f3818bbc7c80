"""Rerankers inside the gateway: cross-encoders, embedding models and causal rerankers that sentence-transformers loads.

Importing this package imports nothing heavy; torch comes with the first `open`.
"""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec

from providers.capabilities import Capabilities
from providers.local.source import problems
from providers.spec import LocalModel, LocalProvider
from providers.types import ClosableBackend

NEEDED = ("torch", "sentence_transformers")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""Builds of torch without CUDA, which pip prefers to those of the same version with it."""


def missing() -> str:
    """The command that installs what is missing; "" when all is there."""
    return _install_command() if any(find_spec(name) is None for name in NEEDED) else ""


def _install_command() -> str:
    """What the extra `local` asks for, one by one: so it works wherever this package was installed from."""
    entries = (entry.partition("; ") for entry in metadata.requires("rerank-gateway") or [])
    needed = [f'"{requirement}"' for requirement, _, marker in entries if marker == 'extra == "local"']
    return f"pip install --extra-index-url {CPU_INDEX} {' '.join(needed)}"


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
