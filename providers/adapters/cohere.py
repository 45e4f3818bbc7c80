"""Cohere rerank, API v2.

The field `relevant_spans` is known to the models from v5 on. Structured documents arrive here as text already; v2 takes
nothing else.
"""

from __future__ import annotations

from providers.spec import JSON, HttpProvider
from providers.types import Ranking, RerankRequest
from providers.wire.cohere import CAPABILITIES, relevant_spans, with_spans
from providers.wire.errors import error_message
from providers.wire.shape import Shape, decoder, encoder, same

_SHAPE = Shape(takes=same("top_n", "max_tokens_per_doc", "priority"), counts="meta")

_encode, _decode = encoder(_SHAPE), decoder(_SHAPE)


def encode(request: RerankRequest) -> JSON:
    return {**_encode(request), **relevant_spans(request)}


def decode(body: bytes, request: RerankRequest) -> Ranking:
    return with_spans(_decode(body, request), body, request)


PROVIDER = HttpProvider(
    name="cohere",
    source="https://docs.cohere.com/reference/rerank (2026-11)",
    base_url="https://api.cohere.com",
    path="/v2/rerank",
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset({"return_spans", *_SHAPE.takes}),
    capabilities=CAPABILITIES,
    api_key_env="COHERE_API_KEY",
)
