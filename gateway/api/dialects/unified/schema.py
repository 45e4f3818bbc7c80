"""The unified dialect's JSON Schemas: the request in words, the answers out of the structs that are sent.

A test holds the request's properties against the fields that are decoded, so neither can be forgotten.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.api.dialects.unified.answer import Answer
from gateway.api.dialects.unified.error_body import ErrorBody
from providers import registry

PREFIX = "#/components/schemas/"

_DOCUMENT: dict[str, Any] = {
    "description": "What is ranked. Blank text is refused. An object without `text` is structured data, and is ranked "
    "as a YAML string with its keys in order; `content` parts go to models that read images.",
    "oneOf": [
        {"type": "string", "minLength": 1},
        {
            "type": "object",
            "title": "Text with an id",
            "required": ["text"],
            "properties": {
                "text": {"type": "string", "minLength": 1},
                "id": {"description": "Yours; comes back with the document."},
                "meta": {"description": "Yours; comes back with the document."},
            },
        },
        {"type": "object", "title": "Structured data", "not": {"required": ["text"]}, "minProperties": 1},
    ],
}

_QUERY: dict[str, Any] = {
    "description": "What the documents are ranked by; content parts for models that read images.",
    "oneOf": [
        {"type": "string", "minLength": 1},
        {"type": "object", "required": ["content"], "properties": {"content": {"type": "array", "items": {}}}},
    ],
}

_MODEL = {
    "type": "string",
    "minLength": 1,
    "description": "`provider/model`, split at the first slash, or a name of the configuration.",
}

_OPTIONAL: dict[str, Any] = {
    "top_n": {"type": "integer", "minimum": 1, "description": "How many results to return; all if absent."},
    "top_k": {"type": "integer", "minimum": 1, "description": "Another spelling of `top_n`."},
    "max_tokens_per_doc": {
        "type": "integer",
        "description": "Cut each document after so many tokens, where the provider can.",
    },
    "max_chunks_per_doc": {
        "type": "integer",
        "description": "Of Cohere's v1 API, where it had an effect on old models; here it only asks for `meta`.",
    },
    "texts": {
        "type": "array",
        "items": {"type": "string"},
        "description": "In place of `documents`: a request to text-embeddings-inference, answered with its bare list.",
    },
    "priority": {"type": "integer", "description": "Lower is served earlier, where the provider can."},
    "return_documents": {"type": "boolean", "description": "Return your documents with the results."},
    "fallbacks": {
        "type": "array",
        "items": {"type": "string"},
        "description": "What to try in turn when the model fails; an empty list is none. "
        "If absent, those configured for the model.",
    },
}

_DESCRIPTIONS: dict[str, dict[str, str]] = {
    "Answer": {
        "id": "The request's id, also in the header `x-request-id`.",
        "results": "Best first: by falling score, then by index.",
        "data": "The results as Voyage's clients read them; only for a request that shows such a client.",
        "model": "The model that served, without its provider.",
        "meta": "Cohere's account of the call; only under `/v2`, or for a request with `max_chunks_per_doc`.",
        "usage": "What the provider counted; absent if it did not.",
        "extra_fields": "How the answer came about.",
    },
    "Result": {
        "index": "The document's place in the request, from 0.",
        "relevance_score": "Higher is more relevant; its scale is the model's own.",
        "document": "Your document, if `return_documents` is true.",
    },
    "ErrorBody": {
        "message": "One sentence: what happened, or what to change.",
        "detail": "The same sentence, where some clients look for it.",
        "error": "The same sentence, where other clients look for it.",
        "error_type": "A stable word for programs.",
        "id": "The request's id, also in the header `x-request-id`.",
        "extra_fields": "The provider that failed, and every attempt.",
    },
}


def request() -> dict[str, Any]:
    """The request, with what the adapters declare beyond the contract."""
    declared: dict[str, list[str]] = {}
    for name in registry.names():
        for field in registry.find(name).fields:
            declared.setdefault(field, []).append(name)
    extras = {
        field: {"description": f"Passed on as it is to providers that speak {' or '.join(names)}."}
        for field, names in sorted(declared.items())
        if field not in _OPTIONAL
    }
    optional = {name: {**field, "type": [field["type"], "null"]} for name, field in _OPTIONAL.items()}
    documents = {"type": "array", "minItems": 1, "items": _DOCUMENT}
    return {
        "title": "RerankRequest",
        "type": "object",
        "required": ["model", "query", "documents"],
        "properties": {"model": _MODEL, "query": _QUERY, "documents": documents, **optional, **extras},
    }


def answers() -> dict[str, Any]:
    """The schemas of a ranking and of an error, and all that they refer to, by name."""
    _, components = msgspec.json.schema_components([Answer, ErrorBody], ref_template=PREFIX + "{name}")
    for name, fields in _DESCRIPTIONS.items():
        properties = components[name]["properties"]
        for field, text in fields.items():
            properties[field] = {**properties[field], "description": text}
    # Figures of the local engine stand there too.
    components["ExtraFields"]["additionalProperties"] = True
    return components
