"""vLLM's own server, self-hosted.

Source: https://docs.vllm.ai/en/latest/models/pooling_models/scoring/ and the source of vLLM 0.33.0 (2026-11)

The path is `/v1/rerank` because the server guards only versioned paths with its `--api-key`. Documents come back
whatever is asked, and are skipped. A null is refused, so absent fields are left out.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.json import Decoder

from providers.dialects.errors import error_message
from providers.dialects.fields import limit, passed, present
from providers.dialects.results import counted, read
from providers.spec import JSON, HttpProvider
from providers.types import Ranked, Ranking, RerankRequest, Usage

_EXTRAS = (
    "truncate_prompt_tokens",
    "truncation_side",
    "max_tokens_per_query",
    "instruction",
    "chat_template_kwargs",
    "use_activation",
    "mm_processor_kwargs",
    "padding",
    "cache_salt",
)


class _Answer(Struct):
    results: list[Ranked]
    usage: Usage | None = None
    id: str | None = None


_ANSWER = Decoder(_Answer)


def encode(request: RerankRequest) -> JSON:
    return present(
        model=request.model,
        query=request.query,
        documents=request.documents,
        top_n=limit(request),
        max_tokens_per_doc=request.max_tokens_per_doc,
        priority=request.priority,
        # Without it a pair longer than the model's limit fails the whole call; -1 cuts it at that limit.
        truncate_prompt_tokens=-1,
    ) | passed(request, _EXTRAS)


def decode(body: bytes, request: RerankRequest) -> Ranking:
    answer = read(body, _ANSWER)
    return Ranking(results=answer.results, usage=counted(answer.usage), id=answer.id)


PROVIDER = HttpProvider(
    name="vllm",
    base_url=None,
    path="/v1/rerank",
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset({"top_n", "max_tokens_per_doc", "priority", *_EXTRAS}),
    multimodal=True,
    key_required=False,
)
