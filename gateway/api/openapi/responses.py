"""What can come back from a rerank route, by status: headers, bodies, and an example of each.

The examples are not written: the dialect itself makes them, as it makes the answers of the gateway.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.api import errors
from gateway.api.dialect import AnyDialect, ErrorReply, IncomingRequest
from gateway.errors import (
    BudgetSpent,
    DeadlineExceeded,
    LimitReached,
    ModelNotAllowed,
    TooLarge,
    Unauthorized,
    UnknownModel,
    UnreadableBody,
)
from gateway.telemetry.names import ANSWER_HEADERS
from providers.errors import InvalidRequest, NotReady, Rejected, RerankError, Unreachable
from providers.types import Call, Ranked, Ranking, Usage

Json = dict[str, Any]

MODEL = "local/all-minilm-l6-v2"
"""The one that every gateway with a local engine has, so that trying an example works."""
ID = "5f8e5a52-7d0b-4f0c-9d0a-5d1e8a3b6c11"

FAILURES: list[tuple[str, RerankError]] = [
    ("The request is wrong; the message says what to change.", InvalidRequest("top_n must be at least 1")),
    ("The API key is missing, unknown or expired.", Unauthorized("a valid API key is required")),
    ("The key's budget is spent until its next period.", BudgetSpent("the budget of 5 USD per day is spent")),
    (
        "The key may not use the model, its model has no price though the key has a budget, or a page of another "
        "origin calls a gateway without keys.",
        ModelNotAllowed(f'this key may not use the model "{MODEL}"'),
    ),
    ("The model is unknown.", UnknownModel('unknown model "local/all-minilm"')),
    ("The request is larger than the gateway or the provider allows.", TooLarge("the body is larger than 32 MB")),
    ("The body has a content coding other than gzip.", UnreadableBody("the body's content coding is not gzip")),
    ("The provider refused the request.", Rejected("the provider refused the request", status=422)),
    (
        "A limit is reached, or a queue is full; see `retry-after`.",
        LimitReached("the limit of 100 requests per minute is reached", retry_after=12),
    ),
    ("A tokenizer of text-embeddings-inference failed.", Rejected("the provider refused the request", status=498)),
    ("The gateway failed.", RerankError("internal error")),
    (
        "The provider could not be reached, refused the gateway's credentials, or gave an unusable answer.",
        Unreachable("the provider could not be reached"),
    ),
    (
        "A local model is still loading, the provider is unavailable, or the store of limits cannot be reached.",
        NotReady("local model all-minilm-l6-v2 is still loading"),
    ),
    ("No answer in time; see `x-request-timeout-ms`.", DeadlineExceeded("no answer within 30 s")),
]
"""Each kind of failure in words, and one error of that kind. Which status it has is the dialect's to say."""

_HELP = {
    "retry-after": "Seconds after which the same request may succeed.",
    "www-authenticate": "How to send a key.",
    "accept-encoding": "The content codings that are read.",
    "x-budget-warning": "How much of a budget is spent, near its end.",
    **{
        f"x-ratelimit-{figure}-{unit}": words.format(unit)
        for unit in ("requests", "documents", "tokens", "concurrency")
        for figure, words in (
            ("limit", "The tightest limit on {}."),
            ("remaining", "What is left of the limit on {}."),
            ("reset", "Seconds until all of the limit on {} is free again."),
        )
    },
}
_ALWAYS = [header.name for header in ANSWER_HEADERS]
_UNDER_LIMITS = [name for name in _HELP if name.startswith(("x-ratelimit", "x-budget"))]


def header_components() -> Json:
    """Every header of the answers, by its name, for `components.headers`."""
    described = {header.name: header.help for header in ANSWER_HEADERS} | _HELP
    return {name: {"schema": {"type": "string"}, "description": text} for name, text in described.items()}


def headers(*names: str) -> Json:
    """References to these, for an answer."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def request_example(dialect: AnyDialect) -> Json:
    """A request that any installation with the embedded model serves, in the fields that the dialect has."""
    fields = dialect.request_type.__struct_fields__
    query, texts = "What is the capital of France?", ["Berlin is in Germany.", "Paris is the capital of France."]
    if "fallbacks" in fields:
        documents = [texts[0], {"id": "b", "text": texts[1]}]
        return {"model": MODEL, "query": query, "documents": documents, "top_n": 1}
    if "text_1" in fields:
        return {"model": MODEL, "text_1": query, "text_2": texts}
    return {"model": MODEL, "query": query, "texts" if "texts" in fields else "documents": texts}


def responses(dialect: AnyDialect, answer: Json, error: Json) -> Json:
    """By status. `answer` and `error` are the schemas of the bodies."""
    by_status = {"200": _response("The ranking.", [*_ALWAYS, *_UNDER_LIMITS], answer, _answer_example(dialect))}
    for description, failure in FAILURES:
        status = str(dialect.status(failure))
        if status in by_status:
            by_status[status]["description"] += f" Or: {description}"
        else:
            by_status[status] = _response(description, _headers(failure), error, _error(dialect, failure))
    return dict(sorted(by_status.items()))


def _answer_example(dialect: AnyDialect) -> Any:
    body = msgspec.json.encode(request_example(dialect))
    decoded = dialect.decode(IncomingRequest(body, dialect.paths[0], [], Call(ID), lambda name: False))
    provider, _, model = MODEL.partition("/")
    ranking = Ranking(
        results=[Ranked(1, 0.96875), Ranked(0, 0.03125)][: decoded.request.top_n],
        usage=Usage(prompt_tokens=28, total_tokens=28),
        provider=provider,
        model=model,
        details={"tokenize_ms": 0.4, "queue_ms": 0.2, "compute_ms": 9.8, "truncated_documents": 0},
    )
    return msgspec.json.decode(dialect.encode(decoded, ranking, 11))


def _error(dialect: AnyDialect, failure: RerankError) -> Any:
    reply = ErrorReply(dialect.status(failure), failure.message, failure.code, Call(ID), MODEL, failure)
    return msgspec.json.decode(dialect.encode_error(reply))


def _headers(failure: RerankError) -> list[str]:
    limited = isinstance(failure, LimitReached)
    return [*_ALWAYS, *errors.headers(failure), *(_UNDER_LIMITS if limited else [])]


def _response(description: str, sent: list[str], schema: Json, example: Any) -> Json:
    return {
        "description": description,
        "headers": headers(*sent),
        "content": {"application/json": {"schema": schema, "example": example}},
    }
