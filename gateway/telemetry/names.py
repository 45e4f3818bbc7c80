"""The names of spans, attributes and answer headers. Tables in docs/observability.md are generated from here.

Metrics are declared in `metrics`.

Sources: https://github.com/open-telemetry/semantic-conventions-genai (2026-11; `rerank` is its proposal #253),
https://opentelemetry.io/docs/specs/semconv/http/http-spans/,
https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md (2026-11).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

SCOPE = "rerank_gateway"
OPERATION = "rerank"
OTHER = "_other"
"""The label value of every name outside of the bounded set of those that may be label values."""


class SpanName(Struct, frozen=True):
    """A span: its name with the variable parts in braces, its OpenTelemetry kind, and the name of its parent."""

    name: str
    kind: Literal["SERVER", "CLIENT", "INTERNAL"]
    parent: str
    help: str


SERVER_SPAN = SpanName(
    "POST {route}", "SERVER", "the caller's span", "The HTTP request, from its headers to its answer."
)
RERANK_SPAN = SpanName(
    "rerank {model}",
    "CLIENT",
    SERVER_SPAN.name,
    "The logical call with all its attempts; `model` is what was asked for.",
)
ATTEMPT_SPAN = SpanName(
    "attempt {provider}",
    "CLIENT",
    RERANK_SPAN.name,
    "One call on one target (INTERNAL if the model runs in the gateway).",
)
TOKENIZE_SPAN = SpanName("tokenize", "INTERNAL", ATTEMPT_SPAN.name, "Local engine: text to tokens.")
QUEUE_SPAN = SpanName("queue", "INTERNAL", ATTEMPT_SPAN.name, "Local engine: waiting for a batch.")
COMPUTE_SPAN = SpanName("compute", "INTERNAL", ATTEMPT_SPAN.name, "Local engine: batches that held these documents.")

SPANS = tuple(value for value in list(globals().values()) if isinstance(value, SpanName))
"""Every span declared above."""

LOCAL_PHASES = ((TOKENIZE_SPAN, "tokenize_ms"), (QUEUE_SPAN, "queue_ms"), (COMPUTE_SPAN, "compute_ms"))
"""The local engine's spans in the order in which they happen, with the detail that holds each one's length."""


class Attribute(Struct, frozen=True):
    """A span attribute.

    Attributes:
        on: the spans that have it: `server`, `rerank`, `attempt`.
        content: whether it holds text of a query or document, and so is left out unless content is switched on.
    """

    name: str
    on: str
    help: str
    content: bool = False


METHOD = Attribute("http.request.method", "server", "The HTTP method.")
ROUTE = Attribute("http.route", "server", "The path, as it is served.")
STATUS = Attribute("http.response.status_code", "server, attempt", "The HTTP status; absent where there was no answer.")
BYTES_IN = Attribute("http.request.body.size", "server", "Bytes of the request body.")
BYTES_OUT = Attribute("http.response.body.size", "server", "Bytes of the answer's body.")
ERROR_TYPE = Attribute(
    "error.type",
    "server, rerank, attempt",
    "The error's stable code, as in the error body's `error_type`; `cancelled`.",
)
REQUEST_ID = Attribute("rerank_gateway.request_id", "server", "The `x-request-id`.")
DIALECT = Attribute("rerank_gateway.dialect", "server", "The wire format that was spoken.")
CALLER = Attribute("rerank_gateway.caller", "server", "The name of the caller's key.")
OVERHEAD = Attribute("rerank_gateway.overhead", "server", "Seconds of the gateway's own, without waiting for others.")
ATTEMPTS = Attribute("rerank_gateway.attempts", "rerank", "How many attempts were made.")
DEGRADED = Attribute("rerank_gateway.degraded", "rerank", "True if a passthrough answered in place of a model.")
SERVED_BY = Attribute("rerank_gateway.served_by", "rerank", "The configured name of the provider that served.")
TRUNCATED = Attribute("rerank_gateway.truncated_documents", "rerank", "Documents cut to fit the model's window.")
PROVIDER = Attribute("rerank_gateway.provider", "attempt", "The provider's name in the configuration.")
KEY = Attribute("rerank_gateway.provider.key", "attempt", "The configured name of the provider's key.")
RETRY = Attribute(
    "rerank_gateway.attempt.retry", "attempt", "0 for the first attempt on this target, 1 for its first retry."
)
FALLBACK = Attribute("rerank_gateway.attempt.fallback", "attempt", "0 for the first target, 1 for the first fallback.")
MEMBER = Attribute(
    "rerank_gateway.attempt.member", "attempt", "Of a model that is made of others: the one that was asked."
)
HEDGED = Attribute("rerank_gateway.attempt.hedged", "attempt", "True if it ran beside an earlier one.")
PARTS = Attribute("rerank_gateway.attempt.parts", "attempt", "Calls it was split into, each a span below it.")
PART_DOCUMENTS = Attribute("rerank_gateway.part.documents", "attempt", "Documents of one part of a split attempt.")
ADDRESS = Attribute("server.address", "attempt", "The provider's host.")
PORT = Attribute("server.port", "attempt", "The provider's port.")
COST = Attribute("rerank_gateway.cost", "rerank", "US dollars by the price table; absent if unknown.")
QUERY = Attribute("rerank_gateway.query", "rerank", "The query.", content=True)
DOCUMENTS = Attribute("rerank_gateway.documents", "rerank", "The first documents, each cut.", content=True)
LEFT_OUT = Attribute(
    "rerank_gateway.documents.left_out", "rerank", "How many documents were not recorded, where some were."
)
SCORES = Attribute("gen_ai.rerank.scores", "rerank", "Scores of the first results, highest first.", content=True)

ATTRIBUTES = tuple(value for value in list(globals().values()) if isinstance(value, Attribute))
"""Every attribute declared above: those with the same name in every convention, but for content in OpenInference."""


class Convention(Struct, frozen=True, kw_only=True):
    """The names that one convention has for the facts of a rerank call; None where it has none.

    Attributes:
        fixed: attributes with the same value on every rerank span.
        attempt_model: for the model on an attempt's span; the other names are for the rerank span.
        indexed_content: whether every document has attributes of its own, with its index in their names. Ids and scores
            are then told without texts, for they show how documents have moved.
    """

    fixed: dict[str, str]
    provider: str
    model: str
    attempt_model: str | None = None
    response_model: str | None
    response_id: str | None
    documents: str
    top_n: str
    input_tokens: str
    search_units: str | None
    cost: str | None = None
    indexed_content: bool = False


_GEN_AI = Convention(
    fixed={"gen_ai.operation.name": OPERATION},
    provider="gen_ai.provider.name",
    model="gen_ai.request.model",
    attempt_model="gen_ai.request.model",
    response_model="gen_ai.response.model",
    response_id="gen_ai.response.id",
    documents="gen_ai.rerank.candidate.count",
    top_n="gen_ai.rerank.top_n",
    input_tokens="gen_ai.usage.input_tokens",
    search_units="gen_ai.usage.search_units",
)

CONVENTIONS: dict[str, Convention] = {
    "gen_ai": _GEN_AI,
    "gen_ai_v1_36": replace(_GEN_AI, provider="gen_ai.system"),
    "openinference": Convention(
        fixed={"openinference.span.kind": "RERANKER"},
        provider="llm.provider",
        model="reranker.model_name",
        attempt_model="llm.model_name",
        response_model=None,
        response_id=None,
        documents="rerank_gateway.documents.count",
        top_n="reranker.top_k",
        input_tokens="llm.token_count.prompt",
        search_units=None,
        cost="llm.cost.total",
        indexed_content=True,
    ),
}
"""The conventions. `gen_ai_v1_36` is for backends without `gen_ai.provider.name`."""

CONVENTION_SETS: dict[str, tuple[Convention, ...]] = {
    **{name: (convention,) for name, convention in CONVENTIONS.items()},
    "both": (_GEN_AI, CONVENTIONS["openinference"]),
}
"""By the value of `telemetry.traces.conventions`: what a fact is named by, once in each."""

LANGFUSE = "langfuse"

BACKENDS = {"plain": "gen_ai", "phoenix": "openinference", LANGFUSE: "gen_ai", "datadog": "openinference"}
"""By the value of `telemetry.traces.backend`, the conventions that the backend renders best. Langfuse knows no reranker
by either, so it gets attributes of its own beside them. Sources: docs/observability.md."""

MAX_ATTRIBUTES = 128
"""Attributes of one span: OpenTelemetry's default limit, beyond which collectors and backends drop what they like."""

OPT_IN = {"gen_ai_latest_experimental": "gen_ai", **{name: name for name in CONVENTIONS}}
"""What `OTEL_SEMCONV_STABILITY_OPT_IN` may hold to choose a convention; its other values are for other libraries."""

OPENINFERENCE_QUERY = "reranker.query"
OPENINFERENCE_INPUT = "input.value"
OPENINFERENCE_DOCUMENT = "reranker.input_documents.{}.document."
OPENINFERENCE_RESULT = "reranker.output_documents.{}.document."
"""Beginnings of names, which go on with `id`, `score` and `content`."""

LANGFUSE_TYPE = "langfuse.observation.type"
LANGFUSE_INPUT = "langfuse.observation.input"
LANGFUSE_OUTPUT = "langfuse.observation.output"
LANGFUSE_USAGE = "langfuse.observation.usage_details"
LANGFUSE_COST = "langfuse.observation.cost_details"


class Header(Struct, frozen=True):
    """A header on answers of the rerank routes."""

    name: str
    help: str


ANSWER_HEADERS = (
    Header("x-request-id", "The caller's own, else one made here."),
    Header("x-gateway-provider", "The configured name of the provider that served."),
    Header("x-gateway-model", "The model that served, as its provider calls it."),
    Header("x-gateway-requested-model", "The name that was asked for: `provider/model`, or an alias."),
    Header("x-gateway-attempts", "How many attempts were made."),
    Header("x-gateway-overhead-ms", "Milliseconds of the gateway's own, without waiting for others."),
    Header("x-gateway-ignored", "Fields of the request that nothing reads, such as typos, percent-encoded; if any."),
    Header("x-gateway-degraded", "`true` if no model ranked: the answer is in the caller's order."),
    Header("traceparent", "The gateway's span; to callers that sent one, or `x-gateway-traceparent: true`."),
)
