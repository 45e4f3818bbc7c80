"""The page of the API in a real browser: it shows every operation, and sends what one tries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from gateway.access.keys import hash_of

KEY = "k" * 40
RERANK = "#operations-rerank-rerank_v1_rerank"
STATUS = f"document.querySelector('{RERANK} .live-responses-table .response .response-col_status')?.innerText.trim()"
BODY = f"document.querySelector('{RERANK} .live-responses-table .highlight-code')?.innerText"


async def _try(tab: Any) -> None:
    """Open the operation and send its example."""
    await tab.click(f"{RERANK} .opblock-summary-control")
    await tab.click(f"{RERANK} .try-out__btn")
    await tab.click(f"{RERANK} .execute")


def _is_of(url: str, page: str) -> bool:
    return url.startswith("data:") or urlsplit(url).netloc == urlsplit(page).netloc


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
@pytest.mark.parametrize("behind_proxy", [False, True], ids=["direct", "below a path"])
async def test_the_page_shows_all_and_sends_what_is_tried(
    tab: Any, embedded: str, proxied: str, behind_proxy: bool, path: str
) -> None:
    base = proxied if behind_proxy else embedded
    async with aiohttp.ClientSession() as client, client.get(f"{base}/openapi.json") as answer:
        document = await answer.json(content_type=None)
    operations = sum(len(methods) for methods in document["paths"].values())
    await tab.go(base + path)
    await tab.until(f"document.querySelectorAll('.opblock').length === {operations}")
    assert await tab.until("document.querySelector('.title .version')?.innerText.trim()") == document["info"]["version"]
    await _try(tab)
    assert await tab.until(STATUS) == "200"
    assert '"relevance_score"' in await tab.until(BODY)
    assert f"{base}/v1/rerank" in tab.requested
    assert [url for url in tab.requested if not _is_of(url, base)] == []
    assert tab.problems == []


async def test_a_key_given_to_the_page_is_sent(tab: Any, start_gateway: Callable[..., Any]) -> None:
    auth = {"keys": [{"name": "me", "hash": hash_of(KEY)}]}
    gateway = start_gateway({"auth": auth, "providers": {"passthrough": {}}})
    gateway.wait_until_ready()
    await tab.go(f"{gateway.url}/docs")
    await tab.click(".btn.authorize")
    await tab.type(".modal-ux input", KEY)
    await tab.click(".modal-ux .btn.modal-btn.authorize")
    await tab.click(".modal-ux .btn-done")
    await _try(tab)
    # The example's model is not there; without the key it would have been a 401.
    assert await tab.until(STATUS) == "404"
