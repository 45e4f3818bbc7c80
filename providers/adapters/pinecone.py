"""Pinecone inference.

Source: https://docs.pinecone.io/reference/api/2026-04/inference/rerank (2026-11)

Documents are objects, of which the field `text` is ranked. `parameters` is the model's own, for example
`{"truncate": "END"}`. The unit that Pinecone charges for is counted as Cohere's search unit is.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.json import Decoder

from providers.capabilities import Capabilities, Limits
from providers.spec import JSON, Header, HttpProvider
from providers.types import Ranking, RerankRequest, Usage
from providers.wire.errors import error_message
from providers.wire.fields import effective_top_n, vendor_fields, without_nulls
from providers.wire.results import ScoredRows, decode_response, known_usage, ranked

_EXTRAS = ("parameters",)


class _Usage(Struct):
    rerank_units: float | None = None


class _Answer(Struct):
    data: ScoredRows
    usage: _Usage | None = None


_ANSWER = Decoder(_Answer)


def encode(request: RerankRequest) -> JSON:
    return without_nulls(
        model=request.model,
        query=request.query,
        documents=[{"text": document} for document in request.documents],
        top_n=effective_top_n(request),
        return_documents=False,
    ) | vendor_fields(request, _EXTRAS)


def decode(body: bytes, request: RerankRequest) -> Ranking:
    answer = decode_response(body, _ANSWER)
    units = answer.usage.rerank_units if answer.usage else None
    return Ranking(results=ranked(answer.data), usage=known_usage(Usage(search_units=units)))


PROVIDER = HttpProvider(
    name="pinecone",
    base_url="https://api.pinecone.io",
    path="/rerank",
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset({"top_n", *_EXTRAS}),
    capabilities={
        "*": Capabilities(score_space="probability"),
        "cohere-rerank-3.5": Capabilities(limits=Limits(documents=200, tokens_per_pair=40_000)),
    },
    api_key_env="PINECONE_API_KEY",
    auth=Header("Api-Key"),
    headers={"X-Pinecone-Api-Version": "2026-04"},
)
