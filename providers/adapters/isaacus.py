"""Isaacus, rerankers and classifiers of legal text.

Source: https://docs.isaacus.com/api-reference/endpoint/rerankings and the SDK isaacus 0.22.1 (2026-11)

A text longer than the model's window is split, and `scoring_method` says how its chunks make one score. `is_iql` is
passed on as the caller wrote it: a query in that language can cost many tokens.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.json import Decoder

from providers.capabilities import Capabilities
from providers.spec import JSON, HttpProvider
from providers.types import Ranking, RerankRequest, Usage
from providers.wire.errors import error_message
from providers.wire.fields import effective_top_n, vendor_fields, without_nulls
from providers.wire.results import ScoredRows, decode_response, known_usage, ranked

_EXTRAS = ("is_iql", "scoring_method", "chunking_options")


class _Usage(Struct):
    input_tokens: int | None = None


class _Answer(Struct):
    results: ScoredRows
    usage: _Usage | None = None


_ANSWER = Decoder(_Answer)


def encode(request: RerankRequest) -> JSON:
    return without_nulls(
        model=request.model,
        query=request.query,
        texts=request.documents,
        top_n=effective_top_n(request),
    ) | vendor_fields(request, _EXTRAS)


def decode(body: bytes, request: RerankRequest) -> Ranking:
    answer = decode_response(body, _ANSWER)
    tokens = answer.usage.input_tokens if answer.usage else None
    return Ranking(results=ranked(answer.results), usage=known_usage(Usage(prompt_tokens=tokens, total_tokens=tokens)))


PROVIDER = HttpProvider(
    name="isaacus",
    base_url="https://api.isaacus.com",
    path="/v1/rerankings",
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset({"top_n", *_EXTRAS}),
    capabilities={"*": Capabilities(score_space="probability")},
    api_key_env="ISAACUS_API_KEY",
)
