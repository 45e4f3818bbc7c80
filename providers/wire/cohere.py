"""What Cohere's answers count, and what is known of its models, wherever they are served.

Limits: `fern/pages/models/rerank-2.mdx` of cohere-ai/cohere-developer-experience (2026-08). Of a longer document the
best piece counts, and a longer query is cut; only too many documents are refused.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from providers.capabilities import Capabilities, Limits
from providers.types import Ranking, RerankRequest, Usage
from providers.wire.fields import without_nulls
from providers.wire.spans import read_spans

_VERSION = re.compile(r"rerank-v(\d+)")
FIRST_WITH_SPANS = 5
"""From this version on a model tells the spans that it found relevant."""


def relevant_spans(request: RerankRequest) -> dict[str, Any]:
    """The field with which spans are asked for; nothing where they are not wanted, or the model has none.

    A caller of Cohere's own API says how many, and from which score on.
    """
    if not _tells_spans(request):
        return {}
    own = request.extra.get("relevant_spans") or {}
    wishes = without_nulls(threshold=own.get("threshold"), max_spans=own.get("max_spans"))
    return {"relevant_spans": {"mode": "enabled", **wishes}}


def with_spans(ranking: Ranking, body: bytes, request: RerankRequest) -> Ranking:
    """The ranking with the spans in its body, if they were asked for."""
    return replace(ranking, spans=read_spans(body, "relevant_spans")) if _tells_spans(request) else ranking


def _tells_spans(request: RerankRequest) -> bool:
    version = _VERSION.search(request.model) if request.return_spans else None
    return version is not None and int(version[1]) >= FIRST_WITH_SPANS


class Counts(Struct):
    """Cohere's numbers are floats, whole or not. `total_tokens` is LiteLLM's."""

    input_tokens: float | None = None
    output_tokens: float | None = None
    search_units: float | None = None
    total_tokens: float | None = None


class Meta(Struct):
    """What was processed, and what is charged for."""

    tokens: Counts | None = None
    billed_units: Counts | None = None


def usage_of(meta: Meta) -> Usage:
    """What was processed (`tokens`), and beside it what is charged for, if both are told.

    No tokens billed where some were processed means that tokens are not what this model is billed by.
    """
    billed = meta.billed_units or Counts()
    tokens = meta.tokens if meta.tokens and meta.tokens.input_tokens is not None else billed
    return Usage(
        prompt_tokens=_whole(tokens.input_tokens),
        completion_tokens=_whole(tokens.output_tokens),
        total_tokens=_total(tokens),
        search_units=billed.search_units,
        billed_tokens=None if tokens is billed else _total(billed) or None,
    )


def with_billed(usage: Usage, meta: Meta) -> Usage:
    """The usage that an answer tells as others do, with what its `meta` says is charged for."""
    billed = meta.billed_units
    if billed is None:
        return usage
    return replace(
        usage,
        search_units=billed.search_units if usage.search_units is None else usage.search_units,
        billed_tokens=_total(billed) or None if usage.billed_tokens is None else usage.billed_tokens,
    )


def _total(counts: Counts) -> int | None:
    known = [count for count in (counts.input_tokens, counts.output_tokens) if count is not None]
    return int(sum(known)) if known else _whole(counts.total_tokens)


def _whole(count: float | None) -> int | None:
    return None if count is None else int(count)


CAPABILITIES = {
    # "The relevance between the query and each document": https://docs.cohere.com/page/rerank-demo (2026-11)
    "*": Capabilities(limits=Limits(documents=10_000), scoring="pointwise", score_space="probability"),
    # "Calibrated relevance scores": https://docs.cohere.com/changelog/rerank-v5 (2026-11)
    "rerank-v5*": Capabilities(limits=Limits(tokens_per_pair=32_768), score_space="calibrated"),
    "rerank-v4*": Capabilities(limits=Limits(tokens_per_pair=32_768, tokens_per_query=16_384)),
    "rerank-v3.5": Capabilities(limits=Limits(tokens_per_pair=4_096, tokens_per_query=2_048)),
    "rerank-*-v3.0": Capabilities(limits=Limits(tokens_per_pair=4_096)),
}
