"""Alibaba Cloud Model Studio (DashScope).

Source: https://www.alibabacloud.com/help/en/model-studio/text-rerank-api and the SDK dashscope 2.0.2 (2026-11)

Each model has one of two APIs: the "compatible" one, whose path ends in `reranks`, or the native one, which nests both
ways. Outside Beijing set `base_url` to the workspace's host, `https://WORKSPACE.ap-southeast-1.maas.aliyuncs.com`, and
nothing behind it: below `/compatible-mode`, where the chat API is, there are no rerankers.
An instruction is called `instruct`; what other vendors call `instruction` is sent as that.
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


class _Answer(Struct):
    results: Rows
    usage: Usage | None = None
    id: str | None = None


class _Output(Struct):
    results: Rows


class _NativeAnswer(Struct):
    output: _Output
    usage: Usage | None = None
    request_id: str | None = None


_ANSWER = Decoder(_Answer)
_NATIVE_ANSWER = Decoder(_NativeAnswer)


def is_native(model: str) -> bool:
    """Whether only the native API serves that model."""
    return model.startswith(("gte-rerank", "qwen3-vl-rerank"))


def path(model: str) -> str:
    native = "/api/v1/services/rerank/text-rerank/text-rerank"
    return native if is_native(model) else "/compatible-api/v1/reranks"


def encode(request: RerankRequest) -> JSON:
    texts = {"query": request.query, "documents": request.documents}
    instruct = request.extra.get("instruct") or request.extra.get("instruction")
    wishes = without_nulls(top_n=effective_top_n(request), instruct=instruct)
    if is_native(request.model):
        return {"model": request.model, "input": texts, "parameters": {"return_documents": False, **wishes}}
    return {"model": request.model, **texts, **wishes}


def decode(body: bytes, request: RerankRequest) -> Ranking:
    if is_native(request.model):
        native = decode_response(body, _NATIVE_ANSWER)
        return Ranking(results=native.output.results, usage=known_usage(native.usage), id=native.request_id)
    answer = decode_response(body, _ANSWER)
    return Ranking(results=answer.results, usage=known_usage(answer.usage), id=answer.id)


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
    fields=frozenset({"top_n", "instruct", "instruction"}),
    capabilities={
        "*": Capabilities(),
        "qwen3-rerank": _limits(500, 4_000, 120_000),
        "gte-rerank-v2": _limits(500, 4_000, 30_000),
        "qwen3-vl-rerank": _limits(100, 8_000, 120_000),
    },
    api_key_env="DASHSCOPE_API_KEY",
)
