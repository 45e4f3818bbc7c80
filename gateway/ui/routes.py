"""GET / and GET /admin, and what the pages there load: nothing inline, nothing from elsewhere, by their policy.

Whoever names HTML among what it accepts gets the page at /: every browser does. Programs, such as curl, get addresses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from litestar.static_files import create_static_files_router
from litestar.types import ControllerRouterHandler

from gateway.api import auth
from gateway.runtime.service import Service

FOLDER = Path(__file__).parent
ASSETS = "/ui"
DASHBOARD = "/admin"

POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
ADDRESSES = {"rerank": "v1/rerank", "models": "v1/models", "documentation": "docs", "openapi": "openapi.json"}
"""Where programs go from here, relative to this address."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def routes(service: Service) -> list[ControllerRouterHandler]:
    """The pages and their files. The dashboard is at the operators' address only, if there is one."""
    page, board = ((FOLDER / "page" / name).read_bytes() for name in ("playground.html", "dashboard.html"))

    @get("/", sync_to_thread=False, include_in_schema=False, response_headers={**HEADERS, "vary": "accept"})
    def playground(request: Request[Any, Any, Any]) -> Response[Any]:
        if "text/html" in request.headers.get("accept", "").lower():
            return Response(page, media_type="text/html")
        return Response(ADDRESSES, media_type="application/json")

    @get(
        DASHBOARD,
        guards=[auth.operators_only(service)],
        sync_to_thread=False,
        include_in_schema=False,
        response_headers=HEADERS,
    )
    def dashboard() -> Response[Any]:
        return Response(board, media_type="text/html")

    assets = create_static_files_router(
        ASSETS,
        directories=[FOLDER / "page", FOLDER / "vendor"],
        include_in_schema=False,
        after_request=_add_headers,
    )
    return [playground, dashboard, assets]


def _add_headers(response: Response[Any]) -> Response[Any]:
    response.headers.update(HEADERS)
    return response
