"""The OpenAPI document and its page.

The rerank routes are raw ASGI handlers, which Litestar leaves out of its document, so they are added here: the unified
dialect with the schemas of `gateway.api.dialects.unified.schema`, the others with schemas made from the types of their
bodies. The page's assets come from the installed package `swagger-ui-bundle`, so it works offline.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin
from litestar.router import Router
from litestar.static_files import create_static_files_router
from swagger_ui_bundle import swagger_ui_path

from gateway.api import dialect_routes
from gateway.api.dialect import AnyDialect
from gateway.api.dialects import tei
from gateway.api.dialects.unified import schema as unified
from gateway.api.dialects.unified.dialect import PATHS

ASSETS = "/docs-assets"
PAGE = "/docs"
DOCUMENT = "/openapi.json"

_ERRORS = {
    "400": "The request is wrong; `message` says what to change.",
    "404": "The model is unknown.",
    "413": "The request is too large for the provider.",
    "415": "The body has a content coding other than gzip.",
    "422": "The provider refused the request.",
    "429": "A rate limit is reached, or a queue is full; see `Retry-After`.",
    "502": "The provider could not be reached, refused the gateway's credentials, or gave an unusable answer.",
    "503": "A local model is still loading, or the provider is unavailable.",
    "504": "The provider did not answer in time.",
}

_REQUEST_ID = {
    "name": "x-request-id",
    "in": "header",
    "schema": {"type": "string"},
    "description": "Identifies the request here and at the provider; generated if absent.",
}
_ECHOED = {"x-request-id": {"schema": {"type": "string"}, "description": "The request's id."}}

_EXAMPLE = {
    "model": "local/all-minilm-l6-v2",
    "query": "What is the capital of France?",
    "documents": ["Berlin is in Germany.", {"id": "b", "text": "Paris is the capital of France."}],
    "top_n": 1,
}


class _Page(SwaggerRenderPlugin):
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, complete(openapi_schema))


class _Document(JsonRenderPlugin):
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, complete(openapi_schema))


def config() -> OpenAPIConfig:
    """The page at /docs, the document at /docs/openapi.json."""
    page = _Page(
        path="/",
        js_url=f"{ASSETS}/swagger-ui-bundle.js",
        css_url=f"{ASSETS}/swagger-ui.css",
        standalone_preset_js_url=f"{ASSETS}/swagger-ui-standalone-preset.js",
        favicon=f"<link rel='icon' href='{ASSETS}/favicon-32x32.png'>",
    )
    return OpenAPIConfig(
        title="rerank-gateway",
        version="1",
        description="One endpoint in front of every reranker.",
        render_plugins=[_Document(path=DOCUMENT), page],
        openapi_router=Router(PAGE, route_handlers=[], include_in_schema=False, before_request=_check_path),
    )


async def _check_path(request: Request[Any, Any, Any]) -> None:
    """Litestar would answer an unknown path below the page in HTML; all our errors are JSON."""
    if request.scope["path"].rstrip("/") not in (PAGE, PAGE + DOCUMENT):
        raise NotFoundException


def assets() -> Router:
    """Serves the page's scripts and styles from the installed package."""
    return create_static_files_router(ASSETS, directories=[swagger_ui_path], include_in_schema=False)


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Litestar's document with the rerank routes added."""
    strict = [_strict_dialect(dialect) for dialect in _strict_dialects()]
    schemas = {"RerankRequest": unified.request(), **unified.answers()}
    paths = {path: {"post": {**_unified(), "operationId": "rerank" + path.replace("/", "_")}} for path in PATHS}
    for dialect_paths, dialect_schemas in strict:
        paths |= dialect_paths
        schemas |= dialect_schemas
    components = document.get("components", {})
    return {
        **document,
        "paths": {**paths, **document.get("paths", {})},
        "components": {**components, "schemas": {**components.get("schemas", {}), **schemas}},
    }


def _unified() -> dict[str, Any]:
    request, answer, error = ({"$ref": unified.PREFIX + name} for name in ("RerankRequest", "Answer", "ErrorBody"))
    return {
        "summary": "Rank documents by a query",
        "tags": ["rerank"],
        "parameters": [_REQUEST_ID],
        "requestBody": {"required": True, "content": _json(request, _EXAMPLE)},
        "responses": {
            "200": _response("The ranking, best first.", answer),
            **{status: _response(description, error) for status, description in _ERRORS.items()},
        },
    }


def _strict_dialects() -> list[AnyDialect]:
    """Their bodies do not depend on the default model, so any will do."""
    return [*dialect_routes.dialects(lambda: None), tei.dialect(lambda: None)]


def _strict_dialect(dialect: AnyDialect) -> tuple[dict[str, Any], dict[str, Any]]:
    """The operation of each path, and the schemas that it refers to. Their names begin with the dialect's."""
    prefix = f"{dialect.name}."
    types = [dialect.request_type, dialect.answer_type, *dialect.error_types]
    (request, answer, *errors), schemas = msgspec.json.schema_components(
        types, ref_template=unified.PREFIX + prefix + "{name}"
    )
    operation = {
        "summary": f"As the vendor's own: {dialect.name}",
        "tags": [dialect.name],
        "parameters": [_REQUEST_ID],
        "requestBody": {"required": True, "content": _json(request)},
        "responses": {
            "200": _response("The scores.", answer),
            "default": _response("The vendor's error.", {"anyOf": errors}),
        },
    }
    paths = {path: {"post": {**operation, "operationId": path[1:].replace("/", "_")}} for path in dialect.paths}
    return paths, {prefix + name: schema for name, schema in schemas.items()}


def _response(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "headers": _ECHOED, "content": _json(schema)}


def _json(schema: dict[str, Any], example: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"application/json": {"schema": schema, **({"example": example} if example else {})}}
