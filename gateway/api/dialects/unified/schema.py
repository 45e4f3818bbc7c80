"""The unified dialect's JSON Schemas: the request's is written here, those of the answers are made from their structs.

The request's is written by hand because its descriptions and conditions say more than the types can. A test checks that
it has exactly the fields that are decoded.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.api.dialects.unified.answer import Answer
from gateway.api.dialects.unified.error_body import ErrorBody
from providers import registry

PREFIX = "#/components/schemas/"

_DOCUMENT: dict[str, Any] = {
    "description": "A document to rank; it must not be blank. An object without `text` is structured data, ranked as "
    "YAML with its keys in order; with an object as `data`, and `id`, `meta` or `score` beside it at most, that is the "
    "data. An object with `content` holds content parts, and one with `image`, alone or beside "
    "`text`, a picture: a URL or base64. Both are for models that read images.",
    "oneOf": [
        {"type": "string", "minLength": 1},
        {
            "type": "object",
            "title": "Text with an id",
            "required": ["text"],
            "properties": {
                "text": {"type": "string", "minLength": 1},
                "id": {"description": "Your own; returned with the document."},
                "meta": {"description": "Your own; returned with the document."},
                "score": {
                    "type": "number",
                    "description": "What your search gave it; for models that fuse rankings with the order you sent.",
                },
                "image": {"description": "A picture beside the text: a URL, or base64."},
            },
        },
        {"type": "object", "title": "Structured data", "not": {"required": ["text"]}, "minProperties": 1},
    ],
}

_QUERY: dict[str, Any] = {
    "description": "What to rank the documents by. Content parts are for models that read images.",
    "oneOf": [
        {"type": "string", "minLength": 1},
        {"type": "object", "required": ["content"], "properties": {"content": {"type": "array", "items": {}}}},
        {"type": "object", "required": ["image"], "properties": {"text": {"type": "string"}, "image": {}}},
    ],
}

_MODEL = {
    "type": "string",
    "minLength": 1,
    "description": "`provider/model`, split at the first slash, or a configured name.",
}

_OPTIONAL: dict[str, Any] = {
    "top_n": {"type": "integer", "minimum": 1, "description": "How many results to return; all if absent."},
    "top_k": {"type": "integer", "minimum": 1, "description": "Another name for `top_n`."},
    "max_tokens_per_doc": {
        "type": "integer",
        "description": "Truncate each document to this many tokens, if the provider supports it.",
    },
    "max_chunks_per_doc": {
        "type": "integer",
        "description": "From Cohere's v1 API: passed on to providers that take it. It adds `meta` to the answer.",
    },
    "texts": {
        "type": "array",
        "items": {"type": "string"},
        "description": "In place of `documents`: read and answered as by text-embeddings-inference.",
    },
    "priority": {
        "type": "integer",
        "description": "Requests with a lower number are served first, if the provider supports it.",
    },
    "return_documents": {"type": "boolean", "description": "Return your documents with the results."},
    "return_spans": {
        "type": "boolean",
        "description": "Return the passage of each document that decided. Where the model tells none, "
        "`extra_fields.warnings` says so.",
    },
    "relevant_spans": {
        "type": "object",
        "description": "From Cohere's v2 API: as `return_spans` with `mode: enabled`, and passed on to its models. "
        "`threshold` and `max_spans` are for those.",
    },
    "instruction": {
        "type": "string",
        "description": "What documents are to be ranked for, in words to the model. Where it takes none, "
        "`extra_fields.warnings` says so. Default: what is configured for the model; an empty text means none.",
    },
    "scores": {
        "type": "string",
        "enum": ["provider", "probability"],
        "description": "Scores as the model gives them, or as probabilities. Default: what is configured for the "
        "model, else `provider`. What the scores of the answer are is in `extra_fields.score_space`.",
    },
    "min_score": {
        "type": "number",
        "description": "Leave out results with a lower score, after `scores`. Where the scores turn out to be of "
        "another kind than yours, nothing is left out, and `extra_fields.warnings` says so.",
    },
    "fallbacks": {
        "type": "array",
        "items": {"type": "string"},
        "description": "What to try, in order, if the model fails; an empty list means nothing. "
        "Default: those configured for the model.",
    },
}

_DESCRIPTIONS: dict[str, dict[str, str]] = {
    "Answer": {
        "id": "The request's id, also in the header `x-request-id`.",
        "results": "Best first: by descending score, then by index.",
        "data": "The results in Voyage's form; only if the request shows one of its clients.",
        "model": "The model that served, without its provider.",
        "meta": "Tokens and costs in Cohere's form; only at `/v2`, or for a request with `max_chunks_per_doc`.",
        "usage": "Tokens and searches that the provider reported; absent if it reported none.",
        "extra_fields": "Who served the request, how long it took, and what it cost.",
    },
    "Result": {
        "index": "The document's place in the request, from 0.",
        "relevance_score": "Higher is more relevant; the scale depends on the model.",
        "id": "Your own id of a document that you gave as `data`; absent otherwise.",
        "document": "Your document, if `return_documents` is true.",
        "spans": "The passages that decided, if `return_spans` is true, the strongest first.",
        "relevant_spans": "The same, for a request with `relevant_spans`.",
    },
    "Span": {
        "start": "The first character in the text that was ranked, in Unicode code points from 0.",
        "end": "One past the last character.",
        "score": "How much the passage speaks for the document; absent if that is not told.",
    },
    "ExtraFields": {
        "request_type": "Always `rerank`.",
        "provider": "The configured name of the provider that served; absent if none did.",
        "latency": "Milliseconds from reading the request to writing the answer.",
        "chunk_index": "Always 0.",
        "original_model_requested": "`model` of the request, with its provider or as an alias.",
        "resolved_model_used": "The provider's name of the model that served, where `model` is an alias.",
        "attempts": "Every attempt, if more than one was needed; with an error, every attempt.",
        "cost": "US dollars by the price table; absent if unknown.",
        "ignored": "Fields of the request that nothing reads, such as typos; absent if there are none.",
        "score_space": "What the scores are: `probability` from 0 to 1, `calibrated` if also comparable between "
        "queries, `logit` for any real number, `cosine` from -1 to 1.",
        "warnings": "What you asked for and is not in this answer; absent if that is nothing.",
    },
    "AnswerWarning": {
        "code": "Stable, for programs.",
        "message": "One sentence, for people.",
    },
    "Attempt": {
        "provider": "The configured name of the provider.",
        "model": "The provider's name of the model.",
        "status": "The HTTP status that the provider answered with; absent if it gave none.",
        "error": "What went wrong; absent on success.",
        "latency": "Whole milliseconds.",
        "member": "Of a model that is made of others: the one that was asked.",
    },
    "ErrorBody": {
        "message": "One sentence: what happened, or what to change.",
        "detail": "The same sentence, where some clients look for it.",
        "error": "The same sentence, where other clients look for it.",
        "error_type": "A stable code, for programs.",
        "id": "The request's id, also in the header `x-request-id`.",
        "extra_fields": "The provider that failed, and every attempt.",
    },
}

_DETAILS: dict[str, Any] = {
    "tokenize_ms": {"type": "number", "description": "Of a local model: milliseconds of making tokens."},
    "queue_ms": {"type": "number", "description": "Of a local model: milliseconds of waiting for it."},
    "compute_ms": {"type": "number", "description": "Of a local model: milliseconds in which it computed."},
    "truncated_documents": {
        "type": "integer",
        "description": "How many documents were longer than what the model reads, or the request allows.",
    },
    "truncated": {
        "type": "array",
        "description": "The documents that were cut: their length and what was sent of them in characters, or the "
        "tokens that a local model read.",
        "items": {
            "type": "object",
            "properties": {name: {"type": "integer"} for name in ("index", "characters", "kept", "kept_tokens")},
        },
    },
    "truncated_query": {
        "type": "object",
        "description": "Of a query that the gateway cut: its length, and what was sent of it, in characters.",
        "properties": {name: {"type": "integer"} for name in ("characters", "kept")},
    },
    "cached_documents": {
        "type": "integer",
        "description": "Of a local embedding model: how many documents had been seen before, so that no model ran.",
    },
    "spans_ms": {"type": "number", "description": "Of a local model: milliseconds of finding the spans."},
    "lexical": {"type": "number", "description": "Of a local model: the weight of the lexical term in the scores."},
    "cache": {
        "type": "object",
        "description": "What was not asked for, since it was known: `documents`, and the `tokens` and `usd` that they "
        "took when they were scored.",
    },
    "members": {
        "type": "array",
        "items": {"type": "object"},
        "description": "Of a fused model: each member with its `latency` in milliseconds, its `cost`, and the "
        "`error_type` of one that failed.",
    },
    "stages": {
        "type": "array",
        "items": {"type": "object"},
        "description": "Of a cascade: each stage with the `documents` that it ranked and `kept`, its `latency` in "
        "milliseconds and its `cost`.",
    },
    "degraded": {"type": "boolean", "description": "True if no model ranked: the results are in the order sent."},
}
"""What backends add to `extra_fields`. One of an installed package may add more."""


def request() -> dict[str, Any]:
    """The schema of the request, with the vendor fields that adapters declare."""
    declared: dict[str, list[str]] = {}
    for name in registry.names():
        for field in registry.find(name).fields:
            declared.setdefault(field, []).append(name)
    extras = {
        field: {"description": f"Passed on unchanged to providers with the adapter {' or '.join(names)}."}
        for field, names in sorted(declared.items())
        if field not in _OPTIONAL
    }
    optional = {name: {**field, "type": [field["type"], "null"]} for name, field in _OPTIONAL.items()}
    documents = {"type": "array", "minItems": 1, "items": _DOCUMENT}
    return {
        "title": "RerankRequest",
        "type": "object",
        "required": ["query"],
        "anyOf": [
            {"required": ["model", "documents"]},
            {"required": ["texts"], "properties": {"query": {"type": "string"}, "documents": False}},
        ],
        "properties": {"model": _MODEL, "query": _QUERY, "documents": documents, **optional, **extras},
    }


def answers() -> dict[str, Any]:
    """The schemas of the answer and of an error, and those that they refer to, by name."""
    _, components = msgspec.json.schema_components([Answer, ErrorBody], ref_template=PREFIX + "{name}")
    for name, fields in _DESCRIPTIONS.items():
        properties = components[name]["properties"]
        for field, text in fields.items():
            properties[field] = {**properties[field], "description": text}
    components["ExtraFields"]["properties"] |= _DETAILS
    components["ExtraFields"]["additionalProperties"] = True
    return components
