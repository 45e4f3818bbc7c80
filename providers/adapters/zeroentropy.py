"""ZeroEntropy rerank.

Source: https://docs.zeroentropy.dev/api-reference/models/rerank and the SDK zeroentropy 0.1.0a11 (2026-11)

`latency: fast` is answered with a 429 where the fast limit is used up; by default such a call goes to the slow one.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.json import Decoder

from providers.capabilities import Capabilities, Limits
from providers.spec import JSON, HttpProvider
from providers.types import Ranking, RerankRequest, Usage
from providers.wire.errors import error_message
from providers.wire.fields import effective_top_n, vendor_fields, without_nulls
from providers.wire.results import Rows, decode_response, known_usage

_EXTRAS = ("latency",)


class _Answer(Struct):
    results: Rows
    total_tokens: int | None = None


_ANSWER = Decoder(_Answer)


def encode(request: RerankRequest) -> JSON:
    return without_nulls(
        model=request.model,
        query=request.query,
        documents=request.documents,
        top_n=effective_top_n(request),
    ) | vendor_fields(request, _EXTRAS)


def decode(body: bytes, request: RerankRequest) -> Ranking:
    answer = decode_response(body, _ANSWER)
    return Ranking(results=answer.results, usage=known_usage(Usage(total_tokens=answer.total_tokens)))


PROVIDER = HttpProvider(
    name="zeroentropy",
    base_url="https://api.zeroentropy.dev",
    path="/v1/models/rerank",
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset({"top_n", *_EXTRAS}),
    capabilities={
        "*": Capabilities(scoring="pointwise", score_space="probability"),
        # https://huggingface.co/zeroentropy/zerank-2 (2026-11)
        "zerank-*": Capabilities(limits=Limits(tokens_per_pair=32_768)),
    },
    api_key_env="ZEROENTROPY_API_KEY",
)
