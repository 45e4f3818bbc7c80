"""GET / and what the page there loads. Nothing of it is inline or from elsewhere: the policy forbids both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from litestar import Response, get
from litestar.static_files import create_static_files_router
from litestar.types import ControllerRouterHandler

FOLDER = Path(__file__).parent
ASSETS = "/ui"

POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def routes() -> list[ControllerRouterHandler]:
    """The playground and its files."""
    page = (FOLDER / "page" / "playground.html").read_bytes()

    @get("/", sync_to_thread=False, include_in_schema=False, response_headers=HEADERS)
    def playground() -> Response[Any]:
        return Response(page, media_type="text/html; charset=utf-8")

    assets = create_static_files_router(
        ASSETS,
        directories=[FOLDER / "page", FOLDER / "vendor"],
        include_in_schema=False,
        after_request=_add_headers,
    )
    return [playground, assets]


def _add_headers(response: Response[Any]) -> Response[Any]:
    response.headers.update(HEADERS)
    return response
