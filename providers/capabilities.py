"""What a model can take, and what its scores mean: facts that an adapter declares and an operator may correct.

Both write them by model: the key is a name, or a pattern as fnmatch takes it (`*`, `?`, `[…]`). Every pattern that fits
counts; where two say something of the same fact, the more specific one holds. A fact that no source states is left out:
the gateway guesses nothing, and treats what is unknown with care.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Literal, TypeVar

from msgspec import Struct
from msgspec.structs import asdict, replace

from providers.types import ScoreSpace

Scoring = Literal["pointwise", "listwise", "unknown"]
"""Whether a document's score depends on it and the query alone (pointwise), or also on the other documents of the call
(listwise): only a pointwise model gives the same scores when a request is split."""

Value = TypeVar("Value")

_WILDCARDS = re.compile(r"[*?]|\[[^]]*\]")


class Limits(Struct, frozen=True, kw_only=True):
    """What one call may carry; None where no limit is known. Beyond the first two the gateway refuses a call (413).

    Attributes:
        documents: documents in one call.
        body_bytes: bytes of the body as it is sent.
        tokens_per_query: tokens of the query.
        tokens_per_document: tokens of each document.
        tokens_per_pair: tokens of the query and one document.
        tokens_per_call: tokens of the query and all documents; where the vendor counts the query once per document, the
            same is meant here.
    """

    documents: int | None = None
    body_bytes: int | None = None
    tokens_per_query: int | None = None
    tokens_per_document: int | None = None
    tokens_per_pair: int | None = None
    tokens_per_call: int | None = None


class Capabilities(Struct, frozen=True, kw_only=True):
    """What is known of a model, or of all models that a pattern fits. The defaults say nothing.

    Attributes:
        multimodal: whether it reads content parts (pictures, video), or text alone.
        instruction: whether it follows an instruction; one that does not gets none, and the caller is told.
    """

    limits: Limits = Limits()
    scoring: Scoring = "unknown"
    score_space: ScoreSpace = "unknown"
    multimodal: bool | None = None
    instruction: bool | None = None


NOTHING_KNOWN = Capabilities()
NO_LIMITS = Limits()

CapabilitiesByModel = Mapping[str, Capabilities]
"""Capabilities by the model's name or pattern."""


def resolve(model: str, *layers: CapabilitiesByModel) -> Capabilities:
    """What is known of that model. A later layer corrects the ones before it, fact by fact."""
    capabilities = Capabilities()
    for layer in layers:
        for known in matching(model, layer):
            capabilities = _merge(capabilities, known)
    return capabilities


def matching(model: str, by_pattern: Mapping[str, Value]) -> list[Value]:
    """What is said of that model, by its name or by patterns; the most specific comes last."""
    fitting = [pattern for pattern in by_pattern if pattern == model or fnmatchcase(model, pattern)]
    return [by_pattern[pattern] for pattern in sorted(fitting, key=_specificity)]


def _specificity(pattern: str) -> tuple[bool, int]:
    """A name is more specific than a pattern, and of two patterns the one with more fixed characters."""
    literal = _WILDCARDS.sub("", pattern)
    return literal == pattern, len(literal)


def _merge(general: Capabilities, specific: Capabilities) -> Capabilities:
    limits = {name: value for name, value in asdict(specific.limits).items() if value is not None}
    return Capabilities(
        limits=replace(general.limits, **limits),
        scoring=general.scoring if specific.scoring == "unknown" else specific.scoring,
        score_space=general.score_space if specific.score_space == "unknown" else specific.score_space,
        multimodal=general.multimodal if specific.multimodal is None else specific.multimodal,
        instruction=general.instruction if specific.instruction is None else specific.instruction,
    )
