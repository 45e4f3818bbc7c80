"""POST /v1/rerank and its other spellings: the unified dialect, which one body makes readable to all rerank clients.

The answer is the plain one (see `answer` beside this) plus no more than what the request shows to be needed:

- `data`, the rows as Voyage's clients read them, for a request with `top_k` or `truncation`, and for one without
  `top_n` whose `User-Agent` is a client that reads `data` (voyageai for JavaScript, LiteLLM) and says nothing else;
- `meta` under `/v2`, where the Vercel AI SDK refuses an answer without it and Cohere's own clients look for costs, and
  for a request with `max_chunks_per_doc`, null or not, as Cohere's Python client 4 sends it, which fails without;
- for a body with `texts` in place of `documents` the bare list of text-embeddings-inference.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from gateway.api.dialect import DecodedRequest, DefaultModel, Dialect, ErrorReply, IncomingRequest
from gateway.api.dialects import cohere, tei, voyage
from gateway.api.dialects.unified import answer
from gateway.api.dialects.unified.refusal import error_body
from gateway.api.dialects.unified.request import Body, canonical, decoder
from providers import registry
from providers.types import Ranking, Usage

PATHS = ["/v1/rerank", "/v2/rerank", "/rerank", "/v1/reranker"]

READERS_OF_DATA = (b"voyageai", b"litellm")
"""How the `User-Agent` of clients begins that read `data` and may send nothing that tells so."""


class Form(msgspec.Struct):
    """What the answer needs beside the plain one."""

    texts: bool = False
    data: bool = False
    meta: str | None = None


PLAIN = Form()


def dialect(default_model: DefaultModel) -> Dialect:
    """The unified dialect. Its decoder keeps the extra fields that any adapter declares.

    Args:
        default_model: serves requests with `texts`, which have no model.
    """
    decode_body = decoder(field for name in registry.names() for field in registry.find(name).fields)
    decode_texts = tei.decoder(default_model)

    def decode(incoming: IncomingRequest) -> DecodedRequest:
        body = decode_body(incoming.body)
        if body.texts is not None and body.documents is None:
            asked = decode_texts(incoming)
            asked.form = Form(texts=True)
            return asked
        request = canonical(body, incoming.call, incoming.is_alias)
        return DecodedRequest(request, body.documents or [], body.fallbacks, form(body, incoming))

    return Dialect(name="unified", paths=PATHS, decode=decode, encode=encode, encode_error=encode_error)


def form(body: Body, incoming: IncomingRequest) -> Form:
    """What this request shows of its client."""
    data = body.top_k is not UNSET or getattr(body, "truncation", UNSET) is not UNSET
    data = data or (body.top_n is None and _reads_data(incoming))
    version = "2" if incoming.path == "/v2/rerank" else "1" if body.max_chunks_per_doc is not UNSET else None
    return Form(data=data, meta=version) if data or version else PLAIN


def encode(asked: DecodedRequest, ranking: Ranking, latency: int) -> bytes:
    """The body of a 200."""
    if asked.form is PLAIN:
        return answer.encode(ranking, asked.request, asked.documents, latency)
    needed: Any = asked.form
    if needed.texts:
        return tei.encode(asked, ranking, latency)
    more: dict[str, Any] = {}
    if needed.data:
        more["data"] = voyage.rows(asked, ranking)
        more["usage"] = _with_total(ranking.usage)
    if needed.meta:
        more["meta"] = cohere.meta(ranking.usage, needed.meta)
    return answer.encode(ranking, asked.request, asked.documents, latency, more)


def encode_error(refusal: ErrorReply) -> bytes:
    """The body of any other answer."""
    return error_body(refusal.message, refusal.code, refusal.call, refusal.model)


def _reads_data(incoming: IncomingRequest) -> bool:
    for name, value in incoming.headers:
        if name == b"user-agent":
            return value.lower().startswith(READERS_OF_DATA)
    return False


def _with_total(usage: Usage | None) -> Usage:
    """Voyage's clients demand the total: 0 stands for a target that does not count."""
    if usage is None or usage.total_tokens is None:
        known = usage or Usage()
        return msgspec.structs.replace(known, total_tokens=voyage.total_tokens(usage))
    return usage
