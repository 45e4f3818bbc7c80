"""The page at /docs and the document at /openapi.json.

The page is a vendored Swagger UI (decision 0033). Nothing of it is inline and nothing comes from elsewhere, which its
Content-Security-Policy holds; its addresses are relative, so that it works below any path of a reverse proxy.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from litestar.enums import OpenAPIMediaType
from litestar.exceptions import NotFoundException
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import Server
from litestar.router import Router
from litestar.static_files import create_static_files_router
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.api.openapi.document import VERSION, Document

FOLDER = Path(__file__).parent
SWAGGER_UI = FOLDER / "swagger_ui"

ASSETS = "/docs-assets"
PAGE = "/docs"
DOCUMENT = "/openapi.json"

# Swagger UI's style sheet has its icons as data: URLs.
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {"content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


class _Page(OpenAPIRenderPlugin):
    def __init__(self) -> None:
        super().__init__(path="/")
        hashes: dict[str, str] = json.loads((SWAGGER_UI / "integrity.json").read_text("utf-8"))["files"]
        page = (FOLDER / "page.html").read_text("utf-8")
        for name, integrity in hashes.items():
            page = page.replace(f"{{{name}}}", integrity)
        self._page = page.encode()

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return self._page


def config() -> OpenAPIConfig:
    """What Litestar collects of its own routes, and where the page is."""
    return OpenAPIConfig(
        title="rerank-gateway",
        version=VERSION,
        description="One endpoint in front of every reranker.",
        servers=[Server(url=".")],  # Relative to the document: below any path of a reverse proxy.
        render_plugins=[_Page()],
        openapi_router=Router(
            PAGE, route_handlers=[], include_in_schema=False, before_request=_check_path, response_headers=_HEADERS
        ),
    )


async def _check_path(request: Request[Any, Any, Any]) -> Response[None] | None:
    """Litestar has more below the page: the document, which is elsewhere, and errors in HTML; all ours are JSON."""
    path = request.scope["path"].rstrip("/")
    if path == PAGE + DOCUMENT:
        return Response(None, status_code=308, headers={"location": f"..{DOCUMENT}"})
    if path != PAGE:
        raise NotFoundException
    return None


def document_route(document: Document) -> HTTPRouteHandler:
    """GET /openapi.json."""

    # In a thread: making the document takes longer than other requests should wait.
    @get(DOCUMENT, sync_to_thread=True, include_in_schema=False)
    def openapi_document(request: Request[Any, Any, Any]) -> Response[bytes]:
        body = document.encode(request.app.openapi_schema.to_schema())
        return Response(body, media_type=OpenAPIMediaType.OPENAPI_JSON)

    return openapi_document


def assets() -> Router:
    """The scripts and styles of the page."""
    return create_static_files_router(ASSETS, directories=[FOLDER / "page", SWAGGER_UI], include_in_schema=False)


def leads_to(page: str) -> ASGIApp:
    """Leads from `/docs/` to `/docs`, below whichever path a reverse proxy has: a page's addresses are relative."""
    headers = [(b"location", f"..{page}".encode()), (b"content-length", b"0")]

    async def redirect(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 308, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return redirect
