"""The capabilities of a model as cells of a table."""

from __future__ import annotations

from msgspec.structs import asdict

from providers.capabilities import Capabilities, Limits, resolve
from providers.spec import Provider

TITLES = ("SCORING", "SCORES", "READS", "INSTRUCTION", "LIMITS OF A CALL")


def cells(adapter: Provider, capabilities: Capabilities) -> list[str]:
    """One cell for each of TITLES. An adapter without a field for it has no model that follows an instruction."""
    reads = {True: "pictures", False: "text", None: "unknown"}[capabilities.multimodal]
    takes = capabilities.instruction if "instruction" in adapter.fields else False
    follows = {True: "yes", False: "no", None: "unknown"}[takes]
    return [capabilities.scoring, capabilities.score_space, reads, follows, _limits(capabilities.limits)]


def declared(adapter: Provider) -> list[list[str]]:
    """A row for each pattern of the adapter, with what it takes from the less specific ones."""
    known = adapter.capabilities
    return [[f"{adapter.name}/{pattern}", *cells(adapter, resolve(pattern, known))] for pattern in known]


def _limits(limits: Limits) -> str:
    """`10,000 documents, 4,096 tokens per pair`."""
    parts = [f"{value:,} {name.replace('_', ' ')}" for name, value in asdict(limits).items() if value is not None]
    return ", ".join(parts) or "none known"
