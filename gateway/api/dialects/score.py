"""vLLM's score API: pairs of texts in, one score per pair out, in the order of the request.

Source: https://docs.vllm.ai/en/latest/models/pooling_models/scoring/ and the source of vLLM 0.33.0 (2026-11)

A request has one query and one document, one query and several documents, or as many queries as documents. The fields
have several pairs of names; the first of each pair is the query, the second the document.
"""

from __future__ import annotations

from time import time

import msgspec
from msgspec import Struct

from gateway.api.dialect import DecodedRequest, DefaultModel, Dialect, IncomingRequest
from gateway.api.dialects.blank import is_blank
from gateway.api.dialects.validation import InvalidBody, build_decoder, validate
from gateway.api.dialects.vllm import (
    MESSAGES,
    ErrorBody,
    Inputs,
    Options,
    Tokens,
    Unauthorized,
    adopt_request_id,
    encode_error,
    to_inputs,
    tokens,
)
from providers.types import Ranking, TextOrParts

PATHS = ["/score", "/v1/score", "/vllm/score", "/vllm/v1/score"]
PAIRS = [("queries", "documents"), ("queries", "items"), ("data_1", "data_2"), ("text_1", "text_2")]

_encode = msgspec.json.Encoder().encode


class Body(Options, kw_only=True):
    queries: Inputs = None
    documents: Inputs = None
    items: Inputs = None
    data_1: Inputs = None
    data_2: Inputs = None
    text_1: Inputs = None
    text_2: Inputs = None


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


def dialect(default_model: DefaultModel) -> Dialect[None]:
    """The dialect, at the server's own paths and at `/vllm`."""
    read = build_decoder(Body, MESSAGES)

    def decode(incoming: IncomingRequest) -> DecodedRequest[None]:
        body = read(incoming)
        adopt_request_id(incoming, body.request_id)
        queries, documents = queries_and_documents(body)
        request = validate(
            incoming,
            MESSAGES,
            model=body.model or default_model(),
            query=queries[0] if queries else None,
            documents=documents,
            queries=queries,
            max_tokens_per_doc=body.max_tokens_per_doc or None,
            priority=body.priority,
            instruction=body.instruction,
            extra=body.extra(),
        )
        _check_lengths(queries, documents)
        return DecodedRequest(request, None)

    return Dialect(
        name="score",
        paths=PATHS,
        decode=decode,
        encode=encode,
        encode_error=encode_error,
        request_type=Body,
        answer_type=Answer,
        error_types=(ErrorBody, Unauthorized),
    )


def encode(decoded: DecodedRequest[None], ranking: Ranking, latency: int) -> bytes:
    """The body of a 200."""
    ordered = sorted(ranking.results, key=lambda row: row.index)
    data = [Score(row.index, "score", row.relevance_score) for row in ordered]
    call = decoded.request.call
    return _encode(Answer(f"score-{call.id}", "list", int(time()), ranking.shown_model, data, tokens(ranking.usage)))


def queries_and_documents(body: Body) -> tuple[list[TextOrParts], list[TextOrParts]]:
    """Queries and documents, under whichever names. Raises InvalidBody unless exactly one pair of fields is given."""
    present = {name for pair in PAIRS for name in pair if getattr(body, name) is not None}
    for first, second in PAIRS:
        if present == {first, second}:
            return to_inputs(getattr(body, first)) or [], to_inputs(getattr(body, second)) or []
    names = ", ".join(f"{first} and {second}" for first, second in PAIRS)
    raise InvalidBody(f"1 validation error(s): give exactly one pair of fields out of: {names}", fault="missing")


def _check_lengths(queries: list[TextOrParts], documents: list[TextOrParts]) -> None:
    if len(queries) not in (1, len(documents)):
        raise InvalidBody("Input lengths must be either 1:1, 1:N or N:N")
    for index, query in enumerate(queries):
        if isinstance(query, str) and is_blank(query):
            raise InvalidBody(f"The query at index {index} must not be empty", f"queries.{index}")
