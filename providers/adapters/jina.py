"""Jina rerank.

Source: https://jina.ai/reranker and the specification of the Jina Search Foundation API, 2026.04.02 (2026-11)

`return_documents` is always sent: its default is true in the specification and false in observed answers.
`max_tokens_per_doc` becomes `max_doc_length` for the v3 family, whose schema alone has it; for other models the
gateway cuts documents. For jina-reranker-m0 a document is a text or a picture. `return_embeddings` is
not passed on: a ranking has no place for vectors.
"""

from __future__ import annotations

from providers.capabilities import Capabilities, Limits
from providers.spec import JSON, HttpProvider
from providers.types import RerankRequest
from providers.wire.errors import error_message
from providers.wire.fields import effective_top_n, vendor_fields, without_nulls
from providers.wire.parts import text_of, texts_or_pictures
from providers.wire.shape import Shape, decoder

_EXTRAS = ("truncation", "max_doc_length")
_LONGEST_DOCUMENT = 8192
_V3 = "jina-reranker-v3"


def encode(request: RerankRequest) -> JSON:
    return without_nulls(
        model=request.model,
        query=text_of(request.query),
        documents=texts_or_pictures(request.documents),
        top_n=effective_top_n(request),
        return_documents=False,
        max_doc_length=_max_doc_length(request),
    ) | vendor_fields(request, _EXTRAS)


def _max_doc_length(request: RerankRequest) -> int | None:
    """At most the vendor's own maximum: more would be refused, and every document is cut there anyway."""
    wanted = request.max_tokens_per_doc
    takes_it = request.model.startswith(_V3)
    return min(wanted, _LONGEST_DOCUMENT) if wanted is not None and takes_it else None


CAPABILITIES = {
    "*": Capabilities(multimodal=False),
    # Both read the whole list at once, and score by cosine: https://jina.ai/models/jina-reranker-v3.5 (2026-11)
    "jina-reranker-v3*": Capabilities(limits=Limits(tokens_per_call=131_000), scoring="listwise", score_space="cosine"),
    "jina-reranker-v3": Capabilities(limits=Limits(tokens_per_document=_LONGEST_DOCUMENT)),
    "jina-reranker-m0": Capabilities(limits=Limits(tokens_per_pair=10_000), multimodal=True),
}

PROVIDER = HttpProvider(
    name="jina",
    base_url="https://api.jina.ai",
    path="/v1/rerank",
    encode=encode,
    decode=decoder(Shape(counts="usage")),
    error_message=error_message,
    fields=frozenset({"top_n", "max_tokens_per_doc", *_EXTRAS}),
    capabilities=CAPABILITIES,
    cuts_documents=(f"{_V3}*",),
    api_key_env="JINA_API_KEY",
)
