"""The unified dialect: POST /v1/rerank and other paths, with one body that all known rerank clients can read.

The answer is that of `answer`, plus what the request shows its client to need:

- `data`, the results in Voyage's form, for a request with `top_k` or `truncation`, and for one without `top_n` whose
  `User-Agent` is voyageai for JavaScript or LiteLLM, which read `data` and send neither field;
- `meta` at `/v2`, where the Vercel AI SDK refuses an answer without it and Cohere's clients look for costs, and for a
  request with `max_chunks_per_doc`, null or not: Cohere's Python client 4 sends it, and fails without `meta`;
- the bare list of text-embeddings-inference, for a body with `texts` in place of `documents`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from gateway.api.dialect import DecodedRequest, DefaultModel, Dialect, ErrorReply, IncomingRequest, WireDocument
from gateway.api.dialects import cohere, tei, voyage
from gateway.api.dialects.relevant_spans import note_unread
from gateway.api.dialects.unified import answer
from gateway.api.dialects.unified.error_body import ErrorBody, error_body
from gateway.api.dialects.unified.request import Body, build_decoder, document_id, to_request
from providers import registry
from providers.types import Ranking, Usage

PATHS = ["/v1/rerank", "/v2/rerank", "/rerank", "/v1/reranker"]

READERS_OF_DATA = (b"voyageai", b"litellm")
"""How the `User-Agent` begins of clients that read `data` and may send no field that shows it."""


class Form(msgspec.Struct):
    """What the answer must hold for this client.

    Attributes:
        documents: as the caller wrote them, to return with the results.
        texts: the request was one to text-embeddings-inference, and so is the answer.
        data: add the results in Voyage's form.
        meta: add Cohere's `meta`, of this API version.
        relevant_spans: give spans under Cohere's name too.
    """

    documents: list[WireDocument] = []
    texts: bool = False
    data: bool = False
    meta: str | None = None
    relevant_spans: bool = False


def dialect(default_model: DefaultModel) -> Dialect[Form]:
    """The unified dialect. Its decoder keeps the vendor fields that any adapter declares.

    Args:
        default_model: for requests with `texts`, which name no model.
    """
    decode_body = build_decoder(field for name in registry.names() for field in registry.find(name).fields)
    decode_texts = tei.request_decoder(default_model)

    def decode(incoming: IncomingRequest) -> DecodedRequest[Form]:
        body = decode_body(incoming)
        if body.texts is not None and body.documents is None:
            incoming.call = replace(incoming.call, ignored=())  # Those fields are its own, not ours.
            return DecodedRequest(decode_texts(incoming), Form(texts=True))
        note_unread(body.relevant_spans, incoming)
        request = to_request(body, incoming.call, incoming.is_alias, incoming.limits)
        ids = None if request.documents is body.documents else partial(document_id, body.documents or ())
        return DecodedRequest(request, _form(body, incoming), body.fallbacks, ids)

    return Dialect(
        name="unified",
        paths=PATHS,
        decode=decode,
        encode=encode,
        encode_error=encode_error,
        request_type=Body,
        answer_type=answer.Answer,
        error_types=(ErrorBody,),
    )


def encode(decoded: DecodedRequest[Form], ranking: Ranking, latency: int) -> bytes:
    """The body of a 200."""
    request, form = decoded.request, decoded.form
    if form.texts:
        return tei.encode_rows(request, ranking)
    more: dict[str, Any] = {}
    if form.data:
        more["data"] = voyage.rows(request, ranking)
        more["usage"] = _with_total(ranking.usage)
    if form.meta:
        more["meta"] = cohere.meta(ranking.usage, form.meta)
    return answer.encode(ranking, request, form.documents, latency, more, relevant_spans=form.relevant_spans)


def encode_error(reply: ErrorReply) -> bytes:
    """The body of any other answer."""
    return error_body(reply.message, reply.code, reply.call, reply.model, reply.trace_id)


def _form(body: Body, incoming: IncomingRequest) -> Form:
    # `truncation` is a field of Body only if some adapter declares it.
    data = body.top_k is not UNSET or getattr(body, "truncation", UNSET) is not UNSET
    data = data or (body.top_n is None and _reads_data(incoming))
    version = "2" if incoming.path == "/v2/rerank" else "1" if body.max_chunks_per_doc is not UNSET else None
    return Form(body.documents or [], data=data, meta=version, relevant_spans=body.relevant_spans is not None)


def _reads_data(incoming: IncomingRequest) -> bool:
    for name, value in incoming.headers:
        if name == b"user-agent":
            return value.lower().startswith(READERS_OF_DATA)
    return False


def _with_total(usage: Usage | None) -> Usage:
    """The usage with the total that Voyage's clients require: 0 if the target does not report it."""
    if usage is None or usage.total_tokens is None:
        known = usage or Usage()
        return msgspec.structs.replace(known, total_tokens=voyage.total_tokens(usage))
    return usage
