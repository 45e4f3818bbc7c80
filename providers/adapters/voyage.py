"""Voyage AI rerank.

The limit is `top_k` and the rows are under `data`. Keys that start with `al-` (MongoDB Atlas) are served elsewhere: set
`base_url: https://ai.mongodb.com` for those. An instruction to the model goes into the query text.
"""

from __future__ import annotations

from providers.capabilities import Capabilities, Limits
from providers.spec import HttpProvider
from providers.wire.errors import error_message
from providers.wire.shape import Shape, decoder, encoder

_SHAPE = Shape(
    takes={"top_n": "top_k", "instruction": "query", "truncation": "truncation"},
    always={"return_documents": False},
    rows="data",
    counts="usage",
)

encode, decode = encoder(_SHAPE), decoder(_SHAPE)


def _limits(query: int, pair: int, call: int | None = None, *, instruction: bool = False) -> Capabilities:
    """Tokens. A call's are the query's, once for each document, and all documents'; too many are refused."""
    limits = Limits(tokens_per_query=query, tokens_per_pair=pair, tokens_per_call=call)
    return Capabilities(limits=limits, instruction=instruction)


CAPABILITIES = {
    # Cross-encoders, which read a query with one document: https://docs.voyageai.com/docs/reranker (2026-11)
    "*": Capabilities(limits=Limits(documents=1_000), scoring="pointwise", score_space="probability"),
    # https://openrouter.ai/voyageai/rerank-3-lite-20260930 (2026-11); the limit of a call is not documented.
    "rerank-3*": _limits(8_000, 32_000, instruction=True),
    "rerank-2.5*": _limits(8_000, 32_000, 600_000, instruction=True),
    "rerank-2": _limits(4_000, 16_000, 600_000),
    "rerank-2-lite": _limits(2_000, 8_000, 600_000),
    "rerank-1": _limits(2_000, 8_000, 300_000),
    "rerank-lite-1": _limits(1_000, 4_000, 300_000),
}

PROVIDER = HttpProvider(
    name="voyage",
    source="https://docs.voyageai.com/reference/reranker-api (2026-11)",
    base_url="https://api.voyageai.com",
    path="/v1/rerank",
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset(_SHAPE.takes),
    capabilities=CAPABILITIES,
    api_key_env="VOYAGE_API_KEY",
)
