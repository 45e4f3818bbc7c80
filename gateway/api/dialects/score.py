"""vLLM's score API: pairs of texts in, one score each out, in the order of the request.

Source: https://docs.vllm.ai/en/latest/models/pooling_models/scoring/ and the source of vLLM 0.33.0 (2026-11)

One query with one document, one with several, or as many queries as documents. What a request says of two texts is a
query and a document here; the first side of each pair of fields is the query.
"""

from __future__ import annotations

from time import time

import msgspec
from msgspec import Struct

from gateway.api.dialect import DecodedRequest, DefaultModel, Dialect, IncomingRequest
from gateway.api.dialects.vllm import (
    WORDING,
    ErrorBody,
    Options,
    Side,
    Tokens,
    Unauthorized,
    adopt_request_id,
    encode_error,
    to_inputs,
    tokens,
)
from gateway.api.dialects.wording import Invalid, build_decoder, validate
from providers.types import Ranking, TextOrParts

PATHS = ["/score", "/v1/score", "/vllm/score", "/vllm/v1/score"]
PAIRS = [("queries", "documents"), ("queries", "items"), ("data_1", "data_2"), ("text_1", "text_2")]

_encode = msgspec.json.Encoder().encode


class Body(Options, kw_only=True):
    queries: Side = None
    documents: Side = None
    items: Side = None
    data_1: Side = None
    data_2: Side = None
    text_1: Side = None
    text_2: Side = None


class Score(Struct):
    index: int
    object: str
    score: float


class Answer(Struct):
    id: str
    object: str
    created: int
    model: str
    data: list[Score]
    usage: Tokens


def dialect(default_model: DefaultModel) -> Dialect:
    """The score API, at its own paths and below `/vllm`."""
    read = build_decoder(Body, WORDING)

    def decode(incoming: IncomingRequest) -> DecodedRequest:
        body = read(incoming.body)
        adopt_request_id(incoming, body.request_id)
        queries, documents = queries_and_documents(body)
        request = validate(
            incoming,
            WORDING,
            model=body.model or default_model(),
            query=queries[0] if queries else None,
            documents=documents,
            queries=queries,
            max_tokens_per_doc=body.max_tokens_per_doc or None,
            priority=body.priority,
            extra=body.extra(),
        )
        _check_lengths(queries, documents)
        return DecodedRequest(request, [])

    return Dialect(
        name="score",
        paths=PATHS,
        decode=decode,
        encode=encode,
        encode_error=encode_error,
        shapes=(Body, Answer, ErrorBody, Unauthorized),
    )


def encode(asked: DecodedRequest, ranking: Ranking, latency: int) -> bytes:
    """The body of a 200."""
    ordered = sorted(ranking.results, key=lambda row: row.index)
    data = [Score(row.index, "score", row.relevance_score) for row in ordered]
    call = asked.request.call
    return _encode(Answer(f"score-{call.id}", "list", int(time()), ranking.model, data, tokens(ranking.usage)))


def queries_and_documents(body: Body) -> tuple[list[TextOrParts], list[TextOrParts]]:
    """Queries and documents, by whichever pair of names. Raises Invalid unless there is exactly one pair."""
    present = {name for pair in PAIRS for name in pair if getattr(body, name) is not None}
    for first, second in PAIRS:
        if present == {first, second}:
            return to_inputs(getattr(body, first)) or [], to_inputs(getattr(body, second)) or []
    names = ", ".join(f"{first} and {second}" for first, second in PAIRS)
    raise Invalid(f"1 validation error(s): give exactly one pair of fields out of: {names}", kind="missing")


def _check_lengths(queries: list[TextOrParts], documents: list[TextOrParts]) -> None:
    if len(queries) not in (1, len(documents)):
        raise Invalid("Input lengths must be either 1:1, 1:N or N:N")
    for index, query in enumerate(queries):
        if isinstance(query, str) and (not query or query.isspace()):
            raise Invalid(f"The query at index {index} must not be empty", f"queries.{index}")
