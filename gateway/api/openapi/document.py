"""The OpenAPI document: what Litestar knows of its own routes, completed.

The rerank routes are raw ASGI handlers, which Litestar leaves out, so they are added here: the unified dialect with the
schemas of `gateway.api.dialects.unified.schema`, the others with schemas made from the types of their bodies.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import msgspec

from gateway.api import dialect_routes
from gateway.api.dialect import AnyDialect
from gateway.api.dialects import tei
from gateway.api.dialects.unified import dialect as rerank
from gateway.api.dialects.unified import schema as unified
from gateway.api.openapi.responses import header_components, headers, request_example, responses
from gateway.headers import REQUEST_TIMEOUT

Json = dict[str, Any]

VERSION = version("rerank-gateway")

_SCHEMES: Json = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "api-key": {"type": "apiKey", "in": "header", "name": "api-key"},
}


def _header(name: str, description: str, **schema: Any) -> Json:
    return {"name": name, "in": "header", "schema": schema, "description": description}


_REQUEST_HEADERS = [
    _header("x-request-id", "Identifies the request here and at the provider; made here if absent.", type="string"),
    _header(
        REQUEST_TIMEOUT,
        "Milliseconds that you wait for an answer, all attempts together; the configured deadline if absent.",
        type="integer",
        minimum=1,
    ),
    _header("traceparent", "Your span, by W3C Trace Context; the gateway's becomes its child.", type="string"),
    _header("x-gateway-traceparent", "`true` to be told the gateway's span without one of your own.", type="string"),
]

_ERROR_TEXTS = {
    "400": "The request is wrong; `message` says what to change.",
    "401": "The API key is missing, unknown or expired.",
    "403": "The key is not allowed to.",
    "404": "There is no such model, or it is only shown at the operators' address (`server.admin`).",
    "503": "Not now; `message` says why.",
}
_ERRORS_OF = {
    "/v1/usage": ("400", "401", "403", "503"),
    "/v1/models": ("401",),
    "/v1/models/{model}": ("401", "403", "404"),
    "/v1/status": ("401", "404"),
    "/metrics": ("401", "404"),
    "/info": ("401", "403", "404"),
    "/readyz": ("503",),
    "/startupz": ("503",),
    "/health": ("503",),
}


class Document:
    """The document as bytes, made once with and once without keys.

    Args:
        has_keys: whether callers need a key; a reload may change it.
    """

    def __init__(self, has_keys: Callable[[], bool]) -> None:
        self._has_keys = has_keys
        self._encoded: dict[bool, bytes] = {}

    def encode(self, document: Json) -> bytes:
        """The document in JSON; takes a few tenths of a second the first time. `document` is Litestar's own."""
        has_keys = self._has_keys()
        if has_keys not in self._encoded:
            self._encoded[has_keys] = msgspec.json.encode({**complete(document), "security": security(has_keys)})
        return self._encoded[has_keys]


def security(has_keys: bool) -> list[dict[str, list[str]]]:
    """What callers must send: one of the headers with a key, or nothing."""
    return [{name: []} for name in _SCHEMES] if has_keys else [{}]


def complete(document: Json) -> Json:
    """Litestar's document with the rerank routes, and with the errors and headers of its own."""
    schemas = {"RerankRequest": unified.request(), **unified.answers()}
    paths = _unified()
    for dialect in [*dialect_routes.dialects(lambda: None), tei.dialect(lambda: None)]:
        dialect_paths, dialect_schemas = _strict(dialect)
        paths |= dialect_paths
        schemas |= dialect_schemas
    for path, operations in document["paths"].items():
        paths[path] = {method: _ordinary(path, operation) for method, operation in operations.items()}
    schemas = {**document["components"].get("schemas", {}), **schemas}
    components = {"schemas": schemas, "securitySchemes": _SCHEMES, "headers": header_components()}
    return {**document, "paths": paths, "components": components}


def _unified() -> Json:
    request, whole, row, error = (
        {"$ref": unified.PREFIX + name} for name in ("RerankRequest", "Answer", "tei.Row", "ErrorBody")
    )
    answer = {"anyOf": [whole, {"type": "array", "items": row, "description": "For a request with `texts`."}]}
    dialect = rerank.dialect(lambda: None)
    operation = {
        "summary": "Rank documents by a query",
        "tags": ["rerank"],
        **_body(dialect, request),
        "responses": responses(dialect, answer, error),
    }
    return {path: {"post": {**operation, "operationId": "rerank" + path.replace("/", "_")}} for path in dialect.paths}


def _strict(dialect: AnyDialect) -> tuple[Json, Json]:
    """The operation of each path, and the schemas that it refers to. Their names begin with the dialect's."""
    prefix = f"{dialect.name}."
    types = [dialect.request_type, dialect.answer_type, *dialect.error_types]
    (request, answer, *errors), schemas = msgspec.json.schema_components(
        types, ref_template=unified.PREFIX + prefix + "{name}"
    )
    operation = {
        "summary": f"As the vendor's own: {dialect.name}",
        "tags": [dialect.name],
        **_body(dialect, request),
        "responses": responses(dialect, answer, {"anyOf": errors}),
    }
    paths = {path: {"post": {**operation, "operationId": path[1:].replace("/", "_")}} for path in dialect.paths}
    return paths, {prefix + name: schema for name, schema in schemas.items()}


def _body(dialect: AnyDialect, schema: Json) -> Json:
    media = {"schema": schema, "example": request_example(dialect)}
    return {
        "parameters": _REQUEST_HEADERS,
        "requestBody": {"required": True, "content": {"application/json": media}},
    }


def _ordinary(path: str, operation: Json) -> Json:
    """An operation of Litestar's, whose own errors have a body that is not ours."""
    error = {"application/json": {"schema": {"$ref": unified.PREFIX + "ErrorBody"}}}
    answers = {status: answer for status, answer in operation["responses"].items() if status < "400"}
    answers |= {status: {"description": _ERROR_TEXTS[status], "content": error} for status in _ERRORS_OF.get(path, ())}
    identified = {
        status: {**answer, "headers": answer.get("headers", {}) | headers("x-request-id")}
        for status, answer in answers.items()
    }
    return {**operation, "responses": identified}
