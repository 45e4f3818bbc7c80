"""Voyage AI rerank.

Source: https://docs.voyageai.com/reference/reranker-api (2026-11)

The limit is `top_k` and the rows are under `data`. Keys that start with `al-` (MongoDB Atlas) are served elsewhere: set
`base_url: https://ai.mongodb.com` for those. An instruction to the model goes into the query text.
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

_EXTRAS = ("truncation",)


class _Answer(Struct):
    data: Rows
    usage: Usage | None = None
    id: str | None = None


_ANSWER = Decoder(_Answer)


def encode(request: RerankRequest) -> JSON:
    return without_nulls(
        model=request.model,
        query=request.query,
        documents=request.documents,
        top_k=effective_top_n(request),
        return_documents=False,
    ) | vendor_fields(request, _EXTRAS)


def decode(body: bytes, request: RerankRequest) -> Ranking:
    answer = decode_response(body, _ANSWER)
    return Ranking(results=answer.data, usage=known_usage(answer.usage), id=answer.id)


def _limits(query: int, pair: int, call: int | None = None) -> Capabilities:
    """Tokens. A call's are the query's, once for each document, and all documents'; too many are refused."""
    return Capabilities(limits=Limits(tokens_per_query=query, tokens_per_pair=pair, tokens_per_call=call))


CAPABILITIES = {
    "*": Capabilities(limits=Limits(documents=1_000), score_space="probability"),
    # https://openrouter.ai/voyageai/rerank-3-lite-20260930 (2026-11); the limit of a call is not documented.
    "rerank-3*": _limits(8_000, 32_000),
    "rerank-2.5*": _limits(8_000, 32_000, 600_000),
    "rerank-2": _limits(4_000, 16_000, 600_000),
    "rerank-2-lite": _limits(2_000, 8_000, 600_000),
    "rerank-1": _limits(2_000, 8_000, 300_000),
    "rerank-lite-1": _limits(1_000, 4_000, 300_000),
}

PROVIDER = HttpProvider(
    name="voyage",
    base_url="https://api.voyageai.com",
    path="/v1/rerank",
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset({"top_n", *_EXTRAS}),
    capabilities=CAPABILITIES,
    api_key_env="VOYAGE_API_KEY",
)
