"""Elasticsearch's inference API, self-hosted or in Elastic's cloud.

Source: https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-inference-rerank (2026-11)

The model is the id of an inference endpoint. What is behind it, and so what its scores are, is known to its operator.
The key is one of Elasticsearch's API keys, in its encoded form.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.json import Decoder

from providers.capabilities import Capabilities
from providers.spec import JSON, Header, HttpProvider
from providers.types import Ranking, RerankRequest
from providers.wire.errors import error_message
from providers.wire.fields import effective_top_n, vendor_fields, without_nulls
from providers.wire.paths import quote_segment
from providers.wire.results import Rows, decode_response

_EXTRAS = ("task_settings",)


class _Answer(Struct):
    rerank: Rows


_ANSWER = Decoder(_Answer)


def path(model: str) -> str:
    return f"/_inference/rerank/{quote_segment(model)}"


def encode(request: RerankRequest) -> JSON:
    return without_nulls(
        query=request.query,
        input=request.documents,
        top_n=effective_top_n(request),
        return_documents=False,
    ) | vendor_fields(request, _EXTRAS)


def decode(body: bytes, request: RerankRequest) -> Ranking:
    return Ranking(results=decode_response(body, _ANSWER).rerank)


PROVIDER = HttpProvider(
    name="elastic",
    base_url=None,
    path=path,
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset({"top_n", *_EXTRAS}),
    capabilities={"*": Capabilities()},
    key_required=False,
    auth=Header("authorization", scheme="ApiKey"),
)
