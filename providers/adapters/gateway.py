"""Another rerank gateway as an upstream, by its `POST /v1/rerank`: in another region, or in front of the models.

Source: docs/clients.md (2026-11)

Its figures about how the answer was made (`queue_ms`, `truncated_documents`, …) are kept, and so are what its scores
are and what it warns of. What it says of itself (its provider, its latency, its attempts, its price) is not: this
gateway has its own.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.json import Decoder

from providers.capabilities import Capabilities
from providers.spec import JSON, HttpProvider
from providers.types import Ranking, RerankRequest, Usage
from providers.wire.errors import error_message
from providers.wire.results import Rows, decode_response, known_usage
from providers.wire.shape import Shape, encoder, same
from providers.wire.spans import read_spans
from providers.wire.warnings import read_score_space, read_warnings

OF_ITSELF = frozenset(
    {
        *("request_type", "provider", "latency", "chunk_index", "original_model_requested", "resolved_model_used"),
        *("attempts", "cost", "ignored", "score_space", "warnings"),
    }
)
RECORDS = frozenset({"truncated", "truncated_query", "cache", "members", "stages"})
"""Fields that are lists or objects here: a number by such a name is none of ours, and nobody could read it."""

MAX_FIGURES = 32
"""Figures kept of one answer: what an upstream may have shown."""

_CANONICAL = ("top_n", "max_tokens_per_doc", "priority", "instruction")
_EXTRAS = (
    *("truncation", "max_doc_length", "raw_scores", "truncate"),
    *("truncate_prompt_tokens", "truncation_side", "max_tokens_per_query", "chat_template_kwargs", "use_activation"),
    *("mm_processor_kwargs", "padding", "cache_salt"),
)


class _Answer(Struct):
    results: Rows
    usage: Usage | None = None
    id: str | None = None
    extra_fields: dict[str, Any] = {}


_ANSWER = Decoder(_Answer)


def decode(body: bytes, request: RerankRequest) -> Ranking:
    answer = decode_response(body, _ANSWER)
    figures = {name: value for name, value in answer.extra_fields.items() if _is_figure(name, value)}
    kept = dict(list(figures.items())[:MAX_FIGURES])
    return Ranking(
        results=answer.results,
        usage=known_usage(answer.usage),
        id=answer.id,
        details=kept or None,
        score_space=read_score_space(answer.extra_fields.get("score_space")),
        warnings=read_warnings(answer.extra_fields.get("warnings")),
        spans=read_spans(body, "spans") if request.return_spans else None,
    )


def _is_figure(name: str, value: Any) -> bool:
    """A number that is not negative, or a yes or no; others take it for one, so nothing else may pass."""
    return name not in OF_ITSELF | RECORDS and isinstance(value, int | float) and 0 <= value < 2**53


_encode = encoder(Shape(takes=same(*_CANONICAL, *_EXTRAS)))


def encode(request: RerankRequest) -> JSON:
    return {**_encode(request), "return_spans": True} if request.return_spans else _encode(request)


PROVIDER = HttpProvider(
    name="gateway",
    source="docs/clients.md (2026-11)",
    base_url=None,
    path="/v1/rerank",
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset({"return_spans", *_CANONICAL, *_EXTRAS}),
    capabilities={"*": Capabilities(multimodal=True)},
    key_required=False,
)
