"""vLLM's own server, self-hosted.

The path is `/v1/rerank` because the server guards only versioned paths with its `--api-key`. Documents come back
whatever is asked, and are skipped. A null is refused, so absent fields are left out.
"""

from __future__ import annotations

from msgspec.structs import replace

from providers.capabilities import Capabilities
from providers.spec import JSON, HttpProvider, ScoreApi
from providers.types import RerankRequest
from providers.wire.errors import error_message
from providers.wire.fields import vendor_fields, without_nulls
from providers.wire.shape import Shape, decoder, encoder, same

_EXTRAS = (
    *("truncate_prompt_tokens", "truncation_side", "max_tokens_per_query", "chat_template_kwargs", "use_activation"),
    *("mm_processor_kwargs", "padding", "cache_salt"),
)


_RERANK = Shape(
    takes=same("top_n", "max_tokens_per_doc", "priority", "instruction", *_EXTRAS),
    # Without it a pair longer than the model's limit fails the whole call; -1 cuts it at that limit.
    always={"truncate_prompt_tokens": -1},
    counts="usage",
)

encode, decode = encoder(_RERANK), decoder(_RERANK)


def encode_score(request: RerankRequest) -> JSON:
    queries = request.queries or [request.query]
    return without_nulls(
        model=request.model,
        # `text_1` and `text_2` are the oldest names, which every version takes. They want text as it is when it is one.
        text_1=queries[0] if len(queries) == 1 else queries,
        text_2=request.documents,
        max_tokens_per_doc=request.max_tokens_per_doc,
        priority=request.priority,
        instruction=request.instruction or None,
        truncate_prompt_tokens=-1,
    ) | vendor_fields(request, _EXTRAS)


decode_score = decoder(Shape(rows="data", score="score", counts="usage"))


# A cross-encoder reads each pair by itself; its scores are behind a sigmoid, unless the caller sends
# `use_activation: false`. What else may be served (bi-encoders, late interaction) scores in spaces of its own.
_CROSS_ENCODER = Capabilities(scoring="pointwise", score_space="probability")
_CROSS_ENCODERS = (
    "*bge-reranker-*",
    "*gte-multilingual-reranker-*",
    "*mxbai-rerank-*-v2",
    "*Qwen3-Reranker-*",
    "*Qwen3-VL-Reranker-*",
    "*nemotron-rerank-*",
    "*jina-reranker-m0",
)
_ENCODERS = (
    *("*bge-reranker-base*", "*bge-reranker-large*", "*bge-reranker-v2-m3*"),
    "*gte-multilingual-reranker-*",
)
CAPABILITIES = {
    "*": Capabilities(multimodal=True),
    **dict.fromkeys(_CROSS_ENCODERS, _CROSS_ENCODER),
    # Models with a prompt take an instruction into it; the encoders have none.
    **dict.fromkeys(("*Qwen3-Reranker-*", "*Qwen3-VL-Reranker-*"), replace(_CROSS_ENCODER, instruction=True)),
    **dict.fromkeys(_ENCODERS, replace(_CROSS_ENCODER, instruction=False)),
    "*jina-reranker-v3*": Capabilities(scoring="listwise", score_space="cosine", multimodal=False),
}

PROVIDER = HttpProvider(
    name="vllm",
    source="https://docs.vllm.ai/en/latest/models/pooling_models/scoring/ and the source of vLLM 0.33.0 (2026-11)",
    base_url=None,
    path="/v1/rerank",
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset(_RERANK.takes),
    capabilities=CAPABILITIES,
    logits_by={"use_activation": False},
    score=ScoreApi(path="/v1/score", encode=encode_score, decode=decode_score),
    key_required=False,
)
