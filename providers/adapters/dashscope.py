"""Alibaba Cloud Model Studio (DashScope).

Source: https://www.alibabacloud.com/help/en/model-studio/text-rerank-api and the SDK dashscope 2.0.2 (2026-11)

Each model has one of two APIs: the "compatible" one, whose path ends in `reranks`, or the native one, which nests both
ways. Outside Beijing set `base_url` to the workspace's host, `https://WORKSPACE.ap-southeast-1.maas.aliyuncs.com`, and
nothing behind it: below `/compatible-mode`, where the chat API is, there are no rerankers.
An instruction is called `instruct`; what other vendors call `instruction` is sent as that.
"""

from __future__ import annotations

from providers.capabilities import Capabilities, Limits
from providers.spec import JSON, HttpProvider
from providers.types import Ranking, RerankRequest
from providers.wire.errors import error_message
from providers.wire.shape import Shape, decoder, encoder

_SHAPE = Shape(takes={"top_n": "top_n", "instruction": "instruct", "instruct": "instruct"}, counts="usage")
_compatible, _decode = encoder(_SHAPE), decoder(_SHAPE)
_decode_native = decoder(Shape(envelope="output", counts="usage", id="request_id"))


def is_native(model: str) -> bool:
    """Whether only the native API serves that model."""
    return model.startswith(("gte-rerank", "qwen3-vl-rerank"))


def path(model: str) -> str:
    native = "/api/v1/services/rerank/text-rerank/text-rerank"
    return native if is_native(model) else "/compatible-api/v1/reranks"


def encode(request: RerankRequest) -> JSON:
    body = _compatible(request)
    if not is_native(request.model):
        return body
    texts = {name: body.pop(name) for name in ("query", "documents")}
    return {"model": body.pop("model"), "input": texts, "parameters": {"return_documents": False, **body}}


def decode(body: bytes, request: RerankRequest) -> Ranking:
    return _decode_native(body, request) if is_native(request.model) else _decode(body, request)


def _limits(documents: int, item: int, call: int) -> Capabilities:
    """A longer query or document is cut at `item` tokens; a call counts the query once for each document."""
    return Capabilities(
        limits=Limits(documents=documents, tokens_per_query=item, tokens_per_document=item, tokens_per_call=call)
    )


PROVIDER = HttpProvider(
    name="dashscope",
    base_url="https://dashscope.aliyuncs.com",
    path=path,
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset(_SHAPE.takes),
    capabilities={
        "*": Capabilities(),
        "qwen3-rerank": _limits(500, 4_000, 120_000),
        "gte-rerank-v2": _limits(500, 4_000, 30_000),
        "qwen3-vl-rerank": _limits(100, 8_000, 120_000),
    },
    api_key_env="DASHSCOPE_API_KEY",
)
