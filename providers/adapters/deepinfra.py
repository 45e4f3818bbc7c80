"""DeepInfra rerank.

Source: https://deepinfra.com/Qwen/Qwen3-Reranker-8B/api (2026-11)

The model is named in the path. There are as many queries as documents, so the one query is repeated; the answer is a
score for each document, in the order of the request.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct
from msgspec.json import Decoder

from providers.capabilities import Capabilities, Limits
from providers.spec import JSON, HttpProvider
from providers.types import Ranked, Ranking, RerankRequest, Usage
from providers.wire.errors import error_message
from providers.wire.fields import vendor_fields, without_nulls
from providers.wire.paths import quote_path
from providers.wire.results import decode_response, expect_all, known_usage

_EXTRAS = ("service_tier",)


class _Answer(Struct):
    scores: Annotated[list[float], Meta(min_length=1)]
    input_tokens: int | None = None
    request_id: str | None = None


_ANSWER = Decoder(_Answer)


def encode(request: RerankRequest) -> JSON:
    queries = [request.query] * len(request.documents)
    return without_nulls(
        queries=queries, documents=request.documents, instruction=request.instruction or None
    ) | vendor_fields(request, _EXTRAS)


def decode(body: bytes, request: RerankRequest) -> Ranking:
    answer = decode_response(body, _ANSWER)
    expect_all(len(answer.scores), request)
    results = [Ranked(index, score) for index, score in enumerate(answer.scores)]
    usage = Usage(prompt_tokens=answer.input_tokens, total_tokens=answer.input_tokens)
    return Ranking(results=results, usage=known_usage(usage), id=answer.request_id)


PROVIDER = HttpProvider(
    name="deepinfra",
    base_url="https://api.deepinfra.com",
    path=lambda model: f"/v1/inference/{quote_path(model)}",
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset({"instruction", *_EXTRAS}),
    capabilities={
        "*": Capabilities(),
        "Qwen/Qwen3-Reranker-*": Capabilities(
            limits=Limits(tokens_per_pair=32_768), scoring="pointwise", instruction=True
        ),
    },
    api_key_env="DEEPINFRA_API_KEY",
)
