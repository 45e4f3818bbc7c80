"""Another rerank gateway as an upstream, by its `POST /v1/rerank`: in another region, or in front of the models.

Source: docs/clients.md (2026-11)
"""

from __future__ import annotations

from providers.capabilities import Capabilities
from providers.spec import HttpProvider, ScoreApi
from providers.wire.errors import error_message
from providers.wire.gateway import CANONICAL, PATH, SCORE_PATH, decode, decode_score, encode_with, score_with

# What vLLM's score API takes, which ours speaks as well.
_OF_VLLM = (
    *("truncate_prompt_tokens", "truncation_side", "max_tokens_per_query", "chat_template_kwargs", "use_activation"),
    *("mm_processor_kwargs", "padding", "cache_salt"),
)
_EXTRAS = ("truncation", "max_doc_length", "raw_scores", "truncate", *_OF_VLLM)

PROVIDER = HttpProvider(
    name="gateway",
    source="docs/clients.md (2026-11)",
    base_url=None,
    path=PATH,
    encode=encode_with(*_EXTRAS),
    decode=decode,
    error_message=error_message,
    fields=frozenset({"return_spans", *CANONICAL, *_EXTRAS}),
    capabilities={"*": Capabilities(multimodal=True)},
    score=ScoreApi(path=SCORE_PATH, encode=score_with(*_OF_VLLM), decode=decode_score),
    key_required=False,
)
