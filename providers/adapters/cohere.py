"""Cohere rerank, API v2.

Source: https://docs.cohere.com/reference/rerank (2026-11)

`relevant_spans` is not passed on: a ranking has no place for spans, so they would be computed and dropped. Structured
documents arrive here as text already; v2 takes nothing else.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.json import Decoder

from providers.spec import JSON, HttpProvider
from providers.types import Ranking, RerankRequest
from providers.wire.cohere import CAPABILITIES, Meta, usage_of
from providers.wire.errors import error_message
from providers.wire.fields import effective_top_n, without_nulls
from providers.wire.results import Rows, decode_response, known_usage


class _Answer(Struct):
    results: Rows
    id: str | None = None
    meta: Meta | None = None


_ANSWER = Decoder(_Answer)


def encode(request: RerankRequest) -> JSON:
    return without_nulls(
        model=request.model,
        query=request.query,
        documents=request.documents,
        top_n=effective_top_n(request),
        max_tokens_per_doc=request.max_tokens_per_doc,
        priority=request.priority,
    )


def decode(body: bytes, request: RerankRequest) -> Ranking:
    answer = decode_response(body, _ANSWER)
    return Ranking(results=answer.results, usage=known_usage(usage_of(answer.meta or Meta())), id=answer.id)


PROVIDER = HttpProvider(
    name="cohere",
    base_url="https://api.cohere.com",
    path="/v2/rerank",
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset({"top_n", "max_tokens_per_doc", "priority"}),
    capabilities=CAPABILITIES,
    api_key_env="COHERE_API_KEY",
)
