"""Another rerank gateway as an upstream, by its `POST /v1/rerank`: in another region, or in front of the models.

Source: docs/clients.md (2026-11)

Its figures about how the answer was made (`queue_ms`, `truncated_documents`, …) are kept, and so are what its scores
are and what it warns of. What it says of itself (its provider, its latency, its attempts, its price) is not: this
gateway has its own.
"""

from __future__ import annotations

import re
from typing import Any, get_args

from msgspec import Struct
from msgspec.json import Decoder

from providers.capabilities import Capabilities
from providers.spec import HttpProvider
from providers.types import AnswerWarning, Ranking, RerankRequest, ScoreSpace, Usage
from providers.wire.errors import error_message
from providers.wire.results import Rows, decode_response, known_usage
from providers.wire.shape import Shape, encoder, same

OF_ITSELF = frozenset(
    {
        *("request_type", "provider", "latency", "chunk_index", "original_model_requested", "resolved_model_used"),
        *("attempts", "cost", "ignored", "score_space", "warnings"),
    }
)
MAX_FIGURES = 32
"""Figures kept of one answer: what an upstream may have shown."""

MAX_WARNINGS, MAX_WARNING_CHARACTERS = 8, 400
"""Warnings kept of one answer, and the length of each."""

_CODE = re.compile("[a-z_]{1,64}")

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
        score_space=_score_space(answer.extra_fields.get("score_space")),
        warnings=_warnings(answer.extra_fields.get("warnings")),
    )


def _score_space(value: Any) -> ScoreSpace:
    return value if value in get_args(ScoreSpace) else "unknown"


def _warnings(value: Any) -> tuple[AnswerWarning, ...]:
    """Those that have the documented shape; others are left out."""
    rows = value[:MAX_WARNINGS] if isinstance(value, list) else []
    pairs = [(row.get("code"), row.get("message")) for row in rows if isinstance(row, dict)]
    return tuple(
        AnswerWarning(code, message[:MAX_WARNING_CHARACTERS].encode(errors="replace").decode())
        for code, message in pairs
        if isinstance(code, str) and isinstance(message, str) and _CODE.fullmatch(code)
    )


def _is_figure(name: str, value: Any) -> bool:
    """A number that is not negative, or a yes or no; others take it for one, so nothing else may pass."""
    return name not in OF_ITSELF and isinstance(value, int | float) and 0 <= value < 2**53


encode = encoder(Shape(takes=same(*_CANONICAL, *_EXTRAS)))

PROVIDER = HttpProvider(
    name="gateway",
    source="docs/clients.md (2026-11)",
    base_url=None,
    path="/v1/rerank",
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset({*_CANONICAL, *_EXTRAS}),
    capabilities={"*": Capabilities(multimodal=True)},
    key_required=False,
)
