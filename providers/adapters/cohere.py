"""Cohere rerank, API v2.

Source: https://docs.cohere.com/reference/rerank (2026-11)

Limits of the models: `fern/pages/models/rerank-2.mdx` of cohere-ai/cohere-developer-experience (2026-08). Of a longer
document the best piece counts, and a longer query is cut; only too many documents are refused.

`relevant_spans` is not passed on: a ranking has no place for spans, so they would be computed and dropped. Structured
documents arrive here as text already; v2 takes nothing else.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.json import Decoder

from providers.capabilities import Capabilities, Limits
from providers.spec import JSON, HttpProvider
from providers.types import Ranking, RerankRequest, Usage
from providers.wire.errors import error_message
from providers.wire.fields import effective_top_n, without_nulls
from providers.wire.results import Rows, decode_response, known_usage


class _Counts(Struct):
    """Cohere's numbers are floats, whole or not."""

    input_tokens: float | None = None
    output_tokens: float | None = None
    search_units: float | None = None


class _Meta(Struct):
    tokens: _Counts | None = None
    billed_units: _Counts | None = None


class _Answer(Struct):
    results: Rows
    id: str | None = None
    meta: _Meta | None = None


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
    return Ranking(results=answer.results, usage=known_usage(_usage(answer.meta or _Meta())), id=answer.id)


def _usage(meta: _Meta) -> Usage:
    """What was processed (`tokens`) rather than what is charged for; search units are only ever charged."""
    billed = meta.billed_units or _Counts()
    tokens = meta.tokens if meta.tokens and meta.tokens.input_tokens is not None else billed
    known = [count for count in (tokens.input_tokens, tokens.output_tokens) if count is not None]
    return Usage(
        prompt_tokens=_whole(tokens.input_tokens),
        completion_tokens=_whole(tokens.output_tokens),
        total_tokens=int(sum(known)) if known else None,
        search_units=billed.search_units,
    )


def _whole(count: float | None) -> int | None:
    return None if count is None else int(count)


CAPABILITIES = {
    "*": Capabilities(limits=Limits(documents=10_000), score_space="probability"),
    # "Calibrated relevance scores": https://docs.cohere.com/changelog/rerank-v5 (2026-11)
    "rerank-v5*": Capabilities(limits=Limits(tokens_per_pair=32_768), score_space="calibrated"),
    "rerank-v4*": Capabilities(limits=Limits(tokens_per_pair=32_768, tokens_per_query=16_384)),
    "rerank-v3.5": Capabilities(limits=Limits(tokens_per_pair=4_096, tokens_per_query=2_048)),
    "rerank-*-v3.0": Capabilities(limits=Limits(tokens_per_pair=4_096)),
}

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
