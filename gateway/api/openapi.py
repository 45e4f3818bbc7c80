"""The OpenAPI document and its page.

The rerank routes are raw ASGI handlers, which Litestar leaves out of its document; they are put in here: the unified
dialect with the schemas of `gateway.api.dialects.unified.schema`, every strict mount with the types that it reads and
writes. The page's assets come from the installed package `swagger-ui-bundle`, so it works offline.
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

from gateway.api import mounts
from gateway.api.dialects import tei
from gateway.api.dialects.unified import schema as unified
from gateway.api.dialects.unified.dialect import PATHS

ASSETS = "/docs-assets"
PAGE = "/docs"
DOCUMENT = "/openapi.json"

_REFUSALS = {
    "400": "The request is wrong; `message` says what to change.",
    "404": "The model is unknown.",
    "413": "The request is too large for the provider.",
    "422": "The provider refused the request.",
    "429": "The provider, or its queue here, is full; see `Retry-After`.",
    "502": "The provider could not be reached, refused the gateway's credentials, or gave an unusable answer.",
    "503": "A local model is still loading, or the provider is unavailable.",
    "504": "The provider did not answer in time.",
}

_REQUEST_ID = {
    "name": "x-request-id",
    "in": "header",
    "schema": {"type": "string"},
    "description": "Identifies the request here and at the provider; made if absent.",
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
        openapi_router=Router(PAGE, route_handlers=[], include_in_schema=False, before_request=_known),
    )


async def _known(request: Request[Any, Any, Any]) -> None:
    """Litestar answers an unknown path below the page with HTML; every error of ours is JSON."""
    if request.scope["path"].rstrip("/") not in (PAGE, PAGE + DOCUMENT):
        raise NotFoundException


def assets() -> Router:
    """The page's scripts and styles, out of the installed package."""
    return create_static_files_router(ASSETS, directories=[swagger_ui_path], include_in_schema=False)


def complete(schema: dict[str, Any]) -> dict[str, Any]:
    """Litestar's document with the rerank routes in it."""
    components = {"RerankRequest": unified.request(), **unified.answers()}
    mounted, wired = strict()
    request, answer, refusal = ({"$ref": unified.PREFIX + name} for name in ("RerankRequest", "Answer", "ErrorBody"))
    operation = {
        "summary": "Rank documents by a query",
        "tags": ["rerank"],
        "parameters": [_REQUEST_ID],
        "requestBody": {"required": True, "content": _json(request, _EXAMPLE)},
        "responses": {
            "200": {"description": "The ranking, best first.", "headers": _ECHOED, "content": _json(answer)},
            **{
                status: {"description": text, "headers": _ECHOED, "content": _json(refusal)}
                for status, text in _REFUSALS.items()
            },
        },
    }
    paths = {path: {"post": {**operation, "operationId": "rerank" + path.replace("/", "_")}} for path in PATHS}
    known = schema.get("components", {}).get("schemas", {})
    return {
        **schema,
        "paths": {**paths, **mounted, **schema.get("paths", {})},
        "components": {**schema.get("components", {}), "schemas": {**known, **components, **wired}},
    }


def strict() -> tuple[dict[str, Any], dict[str, Any]]:
    """The operation of every path of the strict mounts, and the schemas that these refer to, by name."""
    paths: dict[str, Any] = {}
    components: dict[str, Any] = {}
    for dialect in (*mounts.dialects(lambda: None), tei.dialect(lambda: None)):
        prefix = f"{dialect.name}."
        (request, answer, *refusals), found = msgspec.json.schema_components(
            dialect.shapes, ref_template=unified.PREFIX + prefix + "{name}"
        )
        components |= {prefix + name: described for name, described in found.items()}
        operation = {
            "summary": f"As the vendor's own: {dialect.name}",
            "tags": [dialect.name],
            "parameters": [_REQUEST_ID],
            "requestBody": {"required": True, "content": _json(request)},
            "responses": {
                "200": {"description": "The scores.", "headers": _ECHOED, "content": _json(answer)},
                "default": {
                    "description": "The vendor's error.",
                    "headers": _ECHOED,
                    "content": _json({"anyOf": refusals}),
                },
            },
        }
        for path in dialect.paths:
            paths[path] = {"post": {**operation, "operationId": path[1:].replace("/", "_")}}
    return paths, components


def _json(schema: dict[str, Any], example: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"application/json": {"schema": schema, **({"example": example} if example else {})}}
