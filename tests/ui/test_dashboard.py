"""The dashboard in a real browser: it shows what happens, and does the two things that it can do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.access.keys import hash_of
from tests.ui.conftest import IMAGES, on_each_screen, size_of

KEY, TEAM = "o" * 40, "t" * 40
HOSTILE = "<img src=x onerror='window.hit = 1'>"
ROW = (
    "[...document.querySelectorAll('section[aria-labelledby=targets] tbody tr')]"
    ".find(row => row.innerText.startsWith('%s'))"
)
BUTTON = "document.querySelector('section[aria-labelledby=targets] button[aria-label=\"%s %s\"]')"


@pytest.fixture(scope="module")
def url(start_gateway: Callable[..., Any], upstreams: Any) -> str:
    """A gateway with some traffic behind it."""
    vendor = upstreams()
    provider = {"adapter": "cohere", "base_url": vendor.url, "api_key": "k", "retry": {"retries": 0}}
    process = start_gateway(
        {
            "auth": {
                "keys": [
                    {"name": "ops", "hash": hash_of(KEY), "admin": True},
                    {"name": "search-team", "hash": hash_of(TEAM), "limits": {"requests": "900/hour"}},
                ]
            },
            "providers": {"up": provider, "spare": provider, "gone": {**provider, "base_url": "http://127.0.0.1:9"}},
            "models": {
                "search": {"target": "up/m", "fallbacks": ["spare/n"], "shadow": {"target": "spare/next"}},
                "fragile": {"target": "gone/m", "fallbacks": ["spare/n"]},
            },
        }
    )
    process.wait_until_ready()
    with httpx.Client(base_url=process.url, headers={"authorization": f"Bearer {TEAM}"}) as client:
        for model in ("search", "search", "fragile", f"up/{HOSTILE}", "nobody/m"):
            client.post("/v1/rerank", json={"model": model, "query": HOSTILE, "documents": [HOSTILE, "a red apple"]})
    return str(process.url)


async def enter(tab: Any, url: str, key: str = KEY) -> None:
    await tab.go(f"{url}/admin")
    await tab.until("document.querySelector('#key')")
    await tab.type("#key", key)
    await tab.click("form.key button")


async def test_it_shows_what_happens_as_it_happens(tab: Any, url: str) -> None:
    await enter(tab, url)
    assert "closed" in await tab.until(f"({ROW % 'up/m'})?.innerText")
    await tab.until("document.querySelector('#app').innerText.includes('search-team')")
    text = await tab.until("document.querySelector('#app').innerText")
    assert "served by spare/n" in text
    assert "unknown_model" in text
    assert "900 requests per hour" in text
    async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {TEAM}"}) as client:
        for _ in range(3):
            await client.post("/v1/rerank", json={"model": "spare/live", "query": "q", "documents": ["d"]})
    assert await tab.until(f"({ROW % 'spare/live'})?.innerText"), "without a reload of the page"
    assert await tab.until("String(window.hit)") == "undefined"
    assert {urlsplit(each).netloc for each in tab.requested if not each.startswith("data:")} == {urlsplit(url).netloc}
    assert [fault for fault in tab.problems if "401" not in fault] == []


async def test_a_target_is_ejected_and_readmitted_by_a_click(tab: Any, url: str) -> None:
    await enter(tab, url)
    await tab.until(f"(b => b && (b.click(), true))({BUTTON % ('Eject', 'up/m')})")
    assert (await tab.until("document.querySelector('.notice').innerText")).startswith("up/m is out of use")
    assert "held" in await tab.until(f"(t => t.includes('held') && t)({ROW % 'up/m'}.innerText)")
    async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {TEAM}"}) as client:
        answer = await client.post("/v1/rerank", json={"model": "search", "query": "q", "documents": ["d"]})
    assert answer.headers["x-gateway-provider"] == "spare"
    await tab.until(f"(b => b && (b.click(), true))({BUTTON % ('Readmit', 'up/m')})")
    assert "closed" in await tab.until(f"(t => t.includes('closed') && t)({ROW % 'up/m'}.innerText)")


async def test_a_key_that_may_not_is_told_so(tab: Any, url: str) -> None:
    await enter(tab, url, TEAM)
    assert "requires an admin key" in await tab.until(
        "(e => e && e.innerText.includes('admin') && e.innerText)(document.querySelector('form.key p'))"
    )
    kept = await tab.until("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")
    assert TEAM not in kept


async def test_reload_is_asked_for_by_a_click(tab: Any, url: str) -> None:
    await enter(tab, url)
    await tab.click("#reload")
    assert "read again" in await tab.until("document.querySelector('.notice').innerText")
    async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {KEY}"}) as client:
        async for _ in _tries():
            if 'config_reloads_total{outcome="ok"} 0' not in (await client.get("/metrics")).text:
                break
    assert (await tab.until("document.querySelectorAll('table').length")) > 3


async def test_it_works_below_a_path_of_a_reverse_proxy(tab: Any, proxied: str) -> None:
    await tab.go(f"{proxied}/admin/")
    assert await tab.until("document.querySelector('.figures')?.innerText.includes('In flight')")
    assert await tab.until("location.pathname") == urlsplit(proxied).path + "/admin"
    assert [each for each in tab.requested if not each.startswith((proxied, "data:"))] == []
    assert tab.problems == []


async def test_a_button_stays_that_of_its_target(tab: Any, url: str) -> None:
    """A target that is called for the first time moves the others down, under a hand that is about to press."""
    await enter(tab, url)
    await tab.until(f"(b => b && (b.focus(), true))({BUTTON % ('Eject', 'up/m')})")
    async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {TEAM}"}) as client:
        await client.post("/v1/rerank", json={"model": "spare/a-new-one", "query": "q", "documents": ["d"]})
    await tab.until(f"({ROW % 'spare/a-new-one'})?.innerText")
    assert await tab.until("document.activeElement.getAttribute('aria-label')") == "Eject up/m"


SILENT = """(() => {
  const ask = window.fetch, wait = window.setTimeout;
  window.setTimeout = (act, after, ...more) => wait(act, after === 15000 ? 20 : after, ...more);
  window.fetch = (path, options) => {
    if (!String(path).includes('events')) return ask(path, options);
    const end = (stream) => options.signal.addEventListener('abort', () => stream.error(options.signal.reason));
    return Promise.resolve(new Response(new ReadableStream({start: end})));
  };
})()"""


async def test_a_stream_that_falls_silent_is_not_taken_for_news(tab: Any, url: str) -> None:
    await tab.call("Page.addScriptToEvaluateOnNewDocument", source=SILENT)
    await tab.go(f"{url}/admin")
    assert "fallen silent" in await tab.until("document.querySelector('form.key p')?.innerText")
    assert tab.problems == []


async def test_an_impossible_key_is_told(tab: Any, url: str) -> None:
    await enter(tab, url, "schlüssel…")
    assert "characters that no key has" in await tab.until(
        "(e => e && e.innerText.includes('no key has') && e.innerText)(document.querySelector('form.key p'))"
    )


async def _tries() -> Any:
    import asyncio

    async with asyncio.timeout(20):
        while True:
            yield
            await asyncio.sleep(0.05)


@on_each_screen
async def test_axe_finds_nothing_serious_and_a_picture_is_taken(
    tab: Any, url: str, width: int, scheme: str, tmp_path: Path
) -> None:
    await tab.resize(width, 1200, scheme)
    await enter(tab, url)
    await tab.until("document.querySelectorAll('table').length > 3 && document.querySelector('.u-wrap')")
    picture = await tab.take_picture(f"dashboard-{width}-{scheme}", tmp_path)
    assert size_of(picture) == (width, 1200)
    assert await tab.violations() == []
    assert await tab.until("document.documentElement.scrollWidth <= window.innerWidth")


@on_each_screen
def test_the_documentation_has_that_picture(width: int, scheme: str) -> None:
    content = (IMAGES / f"dashboard-{width}-{scheme}.png").read_bytes()
    assert size_of(content) == (width, 1200)


def test_the_page_knows_no_key() -> None:
    folder = Path(__file__).parents[2] / "gateway/ui/page"
    page = "".join(path.read_text("utf-8") for path in folder.iterdir())
    assert "rgw_" not in page
