"""Adapters that differ from a known wire shape in names alone: another URL, key or field. An entry each.

`source` is where the facts were read; what no source states is left out, also of the capabilities. `api_key_env` is
named where users have a usual variable and the vendor a fixed address: whoever sets it needs no configuration.

- siliconflow: an instruction is for Qwen3-Reranker alone; openrouter: for Voyage's models, in the query's text.
- tei, infinity: how many documents fit is the servers' default. tei tells its own at /info; operators who changed it
  for infinity say so in `capabilities`.
- contextual: its `metadata`, a text for each document, is left out: lists are cut, divided and cached by document on
  the way, and what runs beside them would go to the wrong ones. It can be a part of the documents.
- tei, nim, nvidia: a pair that is too long would fail the whole call, so it is cut, as other servers do by themselves.
- nvidia: NVIDIA's hosted models, where nim is one's own server. Its path has the model's name with `_` for each dot.
- azure: Cohere's models in a Foundry resource. A serverless deployment (`….models.ai.azure.com`) takes a bearer key, as
  the adapter cohere sends it.
- infron: formerly OneRouter. The first part of its page is all that could be read, so little is assumed of it.
- llamacpp, and what may have it behind: a text that is too long is refused with a 500; together: with a 403.
- compatible: any server that speaks as Cohere and Jina do, with `options: {path: /…}` where it is not at /v1/rerank.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from providers.capabilities import Capabilities, CapabilitiesByModel, Limits
from providers.spec import TOO_LONG, Header, HttpProvider, LimitsApi, Options
from providers.wire import cohere
from providers.wire.errors import error_message
from providers.wire.paths import quote_path
from providers.wire.shape import Shape, decoder, encoder, same

_SILENT: Mapping[str, bool] = {"return_documents": False}
"""Documents are not wanted back: the gateway returns the caller's own."""

_RAW: Mapping[str, bool] = {"raw_scores": True}
"""A caller of TEI or Infinity who sends this gets scores without the sigmoid."""

_V1 = Shape(always=_SILENT)
_AZURE = Shape(takes=same("top_n", "max_tokens_per_doc", "priority"))
_AZURE_ENCODE, _AZURE_DECODE = encoder(_AZURE), decoder(_AZURE)
_NIM = Shape(
    takes=same("truncate"),
    words={"truncate": {True: "END", False: "NONE"}},
    always={"truncate": "END"},
    documents="passages",
    holder="text",
    query_holder="text",
    rows="rankings",
    score="logit",
)
_UNKNOWN = Capabilities()
_POINTWISE = Capabilities(scoring="pointwise")
_PROBABILITY = Capabilities(score_space="probability")
_INSTRUCTED = Capabilities(instruction=True)
_CROSS_ENCODER = Capabilities(scoring="pointwise", score_space="probability")
_NIM_MODELS = {"*": Capabilities(limits=Limits(documents=512), score_space="logit")}


class PathOptions(Struct, forbid_unknown_fields=True):
    """Where a server has its rerank endpoint."""

    path: str = "/v1/rerank"


class _TeiInfo(Struct):
    """https://github.com/huggingface/text-embeddings-inference/blob/main/docs/openapi.json, `Info` (2026-11)"""

    max_client_batch_size: int | None = None
    max_input_length: int | None = None


def _tei_limits(body: bytes) -> Limits:
    info = msgspec.json.decode(body, type=_TeiInfo)
    return Limits(documents=info.max_client_batch_size, tokens_per_pair=info.max_input_length)


def _at_path(options: PathOptions) -> HttpProvider:
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", options.path) or {".", ".."} & set(options.path.split("/")):
        raise ValueError("path must be the path of a URL, such as /api/rerank")
    return replace(VARIANTS["compatible"], path=options.path)


def _nvidia_path(model: str) -> str:
    return f"/v1/retrieval/{quote_path(model.replace('.', '_'))}/reranking"


def _tokens(pair: int, known: Capabilities = _POINTWISE) -> Capabilities:
    return replace(known, limits=Limits(tokens_per_pair=pair))


def _documents(most: int, known: Capabilities = _UNKNOWN) -> CapabilitiesByModel:
    return {"*": replace(known, limits=Limits(documents=most))}


def _variant(
    name: str, source: str, shape: Shape = _V1, models: CapabilitiesByModel | None = None, **differs: Any
) -> HttpProvider:
    own: dict[str, Any] = {"base_url": None, "path": "/v1/rerank", **differs}
    own = {"encode": encoder(shape), "decode": decoder(shape), "fields": frozenset(shape.takes), **own}
    return HttpProvider(
        name=name,
        source=source,
        error_message=error_message,
        capabilities={"*": _UNKNOWN, **(models or {})},
        **{"key_required": own["base_url"] is not None, **own},
    )


_LINES = [
    _variant(
        "azure",
        "https://docs.cohere.com/docs/azure-ai-reranking (2026-11)",
        _AZURE,
        {name if name == "*" else f"Cohere-{name}": known for name, known in cohere.CAPABILITIES.items()},
        path="/providers/cohere/v2/rerank",
        auth=Header("api-key"),
        key_required=True,
        encode=lambda request: {**_AZURE_ENCODE(request), **cohere.relevant_spans(request)},
        decode=lambda body, request: cohere.with_spans(_AZURE_DECODE(body, request), body, request),
        fields=frozenset({"return_spans", *_AZURE.takes}),
    ),
    _variant(
        "cohere-v1",
        "https://docs.cohere.com/v1/reference/rerank (2026-11)",
        Shape(takes=same("top_n", "max_chunks_per_doc"), always=_SILENT),
        cohere.CAPABILITIES,
        base_url="https://api.cohere.com",
    ),
    _variant(
        "compatible",
        "https://docs.cohere.com/v1/reference/rerank (2026-11)",
        Shape(takes=same("top_n", "instruction"), always=_SILENT),
        options=Options(shape=PathOptions, apply=_at_path),
        too_long=TOO_LONG | {500},
    ),
    _variant(
        "contextual",
        "https://docs.contextual.ai/api-reference/rerank/rerank (2026-11)",
        Shape(takes=same("top_n", "instruction")),
        {"*": replace(_PROBABILITY, instruction=True)},
        base_url="https://api.contextual.ai",
        api_key_env="CONTEXTUAL_API_KEY",
    ),
    _variant(
        "fireworks",
        "https://docs.litellm.ai/docs/providers/fireworks_ai (2026-11)",
        Shape(always=_SILENT, rows="data"),
        {"*qwen3-reranker-*": _tokens(40_960)},
        base_url="https://api.fireworks.ai",
        path="/inference/v1/rerank",
        api_key_env="FIREWORKS_API_KEY",
    ),
    _variant(
        "infinity",
        "https://github.com/michaelfeil/infinity (2025-10)",
        Shape(takes=same("top_n", "raw_scores"), always=_SILENT),
        _documents(2_048, _CROSS_ENCODER),
        path="/rerank",
        logits_by=_RAW,
    ),
    _variant(
        "infron",
        "https://infron.ai/docs/api-reference/rerank-api (2026-11)",
        Shape(),
        base_url="https://llm.onerouter.pro",
    ),
    _variant(
        "litellm",
        "https://docs.litellm.ai/docs/rerank (2026-11)",
        Shape(
            takes=same(
                "top_n",
                "max_tokens_per_doc",
                "instruction",
                "truncate_prompt_tokens",
                "truncation_side",
                "max_tokens_per_query",
            ),
            always=_SILENT,
        ),
        too_long=TOO_LONG | {500},
    ),
    _variant(
        "llamacpp",
        "https://github.com/ggml-org/llama.cpp/tree/master/tools/server (2026-11)",
        Shape(),
        {"*": _POINTWISE},
        too_long=TOO_LONG | {500},
    ),
    _variant(
        "mixedbread",
        "https://www.mixedbread.com/api-reference/endpoints/reranking (2026-11)",
        Shape(
            takes={"top_n": "top_k", "rewrite_query": "rewrite_query"},
            always={"return_input": False},
            documents="input",
            rows="data",
            score="score",
        ),
        _documents(1_000),
        base_url="https://api.mixedbread.com",
        path="/v1/reranking",
        api_key_env="MXBAI_API_KEY",
    ),
    _variant(
        "nanogpt",
        "https://docs.nano-gpt.com/api-reference/endpoint/rerank.md (2026-11)",
        _V1,
        {**_documents(1_024), "nvidia/Nemotron-*": Capabilities(score_space="logit")},
        base_url="https://api.nano-gpt.com",
        path="/api/v1/rerank",
        api_key_env="NANOGPT_API_KEY",
    ),
    _variant(
        "nim",
        "https://docs.nvidia.com/nim/nemo-retriever/text-reranking (2026-11)",
        _NIM,
        _NIM_MODELS,
        path="/v1/ranking",
    ),
    _variant(
        "novita",
        "https://novita.ai/docs/api-reference/model-apis-llm-create-rerank (2026-11)",
        Shape(),
        {"baai/bge-reranker-v2-m3": _tokens(8_000), "qwen/qwen3-reranker-8b": _tokens(32_768)},
        base_url="https://api.novita.ai",
        path="/openai/v1/rerank",
        api_key_env="NOVITA_API_KEY",
    ),
    _variant(
        "nvidia",
        "https://docs.api.nvidia.com/nim/reference/nvidia-llama-3_2-nv-rerankqa-1b-v2-infer (2026-11)",
        _NIM,
        _NIM_MODELS,
        base_url="https://ai.api.nvidia.com",
        path=_nvidia_path,
        api_key_env="NVIDIA_API_KEY",
    ),
    _variant(
        "openrouter",
        "https://openrouter.ai/docs/api/api-reference/rerank (2026-11)",
        Shape(takes={"top_n": "top_n", "instruction": "query"}),
        {
            "*": Capabilities(instruction=False),
            **dict.fromkeys(("cohere/rerank-*", "voyageai/rerank-*"), _PROBABILITY),
            **dict.fromkeys(("voyageai/rerank-2.5*", "voyageai/rerank-3*", "mongodb/rerank-3*"), _INSTRUCTED),
        },
        base_url="https://openrouter.ai",
        path="/api/v1/rerank",
        api_key_env="OPENROUTER_API_KEY",
    ),
    _variant(
        "openvino",
        "https://docs.openvino.ai/2025/model-server/ovms_docs_rest_api_rerank.html (2026-11)",
        _V1,
        {"*": _POINTWISE},
        path="/v3/rerank",
    ),
    _variant(
        "sglang",
        "https://docs.sglang.io/supported_models/retrieval_ranking/rerank_models.html (2026-11)",
        Shape(takes={"top_n": "top_n", "instruction": "instruct"}, always=_SILENT, rows=None, score="score"),
        {"*": _POINTWISE},
    ),
    _variant(
        "siliconflow",
        "https://docs.siliconflow.com/en/api-reference/rerank/create-rerank (2026-11)",
        Shape(takes=same("top_n", "instruction", "max_chunks_per_doc", "overlap_tokens"), always=_SILENT),
        {"*": Capabilities(instruction=False), "*/Qwen3-Reranker-*": _INSTRUCTED},
        base_url="https://api.siliconflow.com",
        api_key_env="SILICONFLOW_API_KEY",
    ),
    _variant(
        "tei",
        "https://huggingface.github.io/text-embeddings-inference (2026-07)",
        Shape(
            takes=same("truncate", "truncation_direction", "raw_scores"),
            words={"truncate": {"END": True, "NONE": False}},
            always={"truncate": True, "return_text": False},
            model=None,
            documents="texts",
            rows=None,
            score="score",
        ),
        _documents(32, _CROSS_ENCODER),
        path="/rerank",
        limits=LimitsApi(path="/info", decode=_tei_limits),
        tokens_header="x-compute-tokens",
        logits_by=_RAW,
    ),
    _variant(
        "together",
        "https://docs.together.ai/reference/rerank (2026-11)",
        _V1,
        {"Salesforce/Llama-Rank-*": _tokens(8_192, _UNKNOWN)},
        base_url="https://api.together.ai",
        api_key_env="TOGETHER_API_KEY",
        too_long=TOO_LONG | {403},
    ),
    _variant(
        "xinference",
        "https://inference.readthedocs.io/en/latest/models/model_abilities/rerank.html (2026-10)",
        Shape(takes=same("top_n", "max_chunks_per_doc"), always=_SILENT),
        too_long=TOO_LONG | {500},
    ),
]

VARIANTS: Mapping[str, HttpProvider] = {provider.name: provider for provider in _LINES}
"""The adapters of the table, by name."""
