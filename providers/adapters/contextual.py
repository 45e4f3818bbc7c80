"""Contextual AI rerank.

Source: https://docs.contextual.ai/api-reference/rerank/rerank and the SDK contextual-client 0.11.0 (2026-11)
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.json import Decoder

from providers.capabilities import Capabilities
from providers.spec import JSON, HttpProvider
from providers.types import Ranking, RerankRequest
from providers.wire.errors import error_message
from providers.wire.fields import effective_top_n, vendor_fields, without_nulls
from providers.wire.results import Rows, decode_response

_EXTRAS = ("instruction", "metadata")


class _Answer(Struct):
    results: Rows


_ANSWER = Decoder(_Answer)


def encode(request: RerankRequest) -> JSON:
    return without_nulls(
        model=request.model,
        query=request.query,
        documents=request.documents,
        top_n=effective_top_n(request),
    ) | vendor_fields(request, _EXTRAS)


def decode(body: bytes, request: RerankRequest) -> Ranking:
    return Ranking(results=decode_response(body, _ANSWER).results)


PROVIDER = HttpProvider(
    name="contextual",
    base_url="https://api.contextual.ai",
    path="/v1/rerank",
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset({"top_n", *_EXTRAS}),
    capabilities={"*": Capabilities(score_space="probability")},
    api_key_env="CONTEXTUAL_API_KEY",
)
