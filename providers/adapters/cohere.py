"""Cohere rerank, API v2.

`relevant_spans` is not passed on: a ranking has no place for spans, so they would be computed and dropped. Structured
documents arrive here as text already; v2 takes nothing else.
"""

from __future__ import annotations

from providers.spec import HttpProvider
from providers.wire.cohere import CAPABILITIES
from providers.wire.errors import error_message
from providers.wire.shape import Shape, decoder, encoder, same

_SHAPE = Shape(takes=same("top_n", "max_tokens_per_doc", "priority"), counts="meta")

encode, decode = encoder(_SHAPE), decoder(_SHAPE)

PROVIDER = HttpProvider(
    name="cohere",
    source="https://docs.cohere.com/reference/rerank (2026-11)",
    base_url="https://api.cohere.com",
    path="/v2/rerank",
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset(_SHAPE.takes),
    capabilities=CAPABILITIES,
    api_key_env="COHERE_API_KEY",
)
