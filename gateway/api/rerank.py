"""POST /v1/rerank and its other spellings: the unified dialect."""

from __future__ import annotations

from gateway.api import answer, errors
from gateway.api.dialect import Asked, Dialect, Incoming, Refusal
from gateway.api.request import canonical, decoder
from providers import registry
from providers.types import Ranking

PATHS = ["/v1/rerank", "/v2/rerank", "/rerank", "/v1/reranker"]


def dialect() -> Dialect:
    """The unified dialect. Its decoder keeps the extra fields that any adapter declares."""
    decode_body = decoder(field for name in registry.names() for field in registry.find(name).fields)

    def decode(incoming: Incoming) -> Asked:
        body = decode_body(incoming.body)
        request = canonical(body, incoming.call, incoming.is_name)
        return Asked(request, body.documents or [], body.fallbacks)

    return Dialect(name="unified", paths=PATHS, decode=decode, encode=encode, refuse=refuse)


def encode(asked: Asked, ranking: Ranking, latency: int) -> bytes:
    """The body of a 200."""
    return answer.encode(ranking, asked.request, asked.documents, latency)


def refuse(refusal: Refusal) -> bytes:
    """The body of any other answer."""
    return errors.body(refusal.message, refusal.code, refusal.call, refusal.model)
