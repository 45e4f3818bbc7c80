"""The report of an evaluation in a real browser: light and dark, wide and narrow, without a request or a complaint."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main

WIDTHS = {"wide": (1280, 900), "narrow": (390, 844)}
CONFIG = """
providers: {words: {adapter: vllm, base_url: "URL/v1"}, own: {adapter: passthrough}}
models: {"a model with quite a long name, as models have": {target: words/m}, order: {target: own/x}}
prices: {"words/*": {per_search: 0.001, documents_per_search: 100}}
"""


@pytest.fixture
def page(tmp_path: Path, upstream: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A report with everything in it: charts, probes, calibration, losses with their texts."""
    monkeypatch.chdir(tmp_path)
    Path("gateway.yaml").write_text(CONFIG.replace("URL", upstream.url), encoding="utf-8")
    assert main(["eval", "--sample-data", "--config", "gateway.yaml", "--show-texts"]) == 0
    return tmp_path / "rerank-eval" / "report.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), WIDTHS.values(), ids=WIDTHS)
async def test_the_report_is_read_anywhere(
    tab: Any, page: Path, width: int, height: int, scheme: str, record_property: Callable[..., None]
) -> None:
    await tab.resize(width, height, scheme)
    await tab.go(page.as_uri())
    assert await tab.until("document.readyState === 'complete' && document.querySelectorAll('svg').length") == 6
    # Nothing is wider than the window but what scrolls by itself.
    assert await tab.until("document.scrollingElement.scrollWidth") <= width
    background = await tab.until("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") is (scheme == "light")
    assert await tab.until(f"({CONTRAST})()") >= 4.5
    assert await tab.until("document.querySelector('.verdict').innerText.length") > 50
    await tab.call("Runtime.evaluate", expression="document.querySelectorAll('details').forEach(e => e.open = true)")
    assert await tab.until("document.querySelectorAll('td.text').length") > 5
    assert await tab.until("document.scrollingElement.scrollWidth") <= width
    shot = await tab.call("Page.captureScreenshot", captureBeyondViewport=True)
    image = page.with_name(f"report-{width}-{scheme}.png")
    image.write_bytes(base64.b64decode(shot["data"]))
    record_property("screenshot", str(image))
    assert tab.requested == [page.as_uri()]
    assert tab.problems == []


CONTRAST = """() => {
  const light = (text) => {
    const parts = text.match(/[\\d.]+/g).slice(0, 3).map(Number)
      .map(c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor;
      if (color !== 'rgba(0, 0, 0, 0)') return light(color);
    }
  };
  return Math.min(...[...document.querySelectorAll('h1, h2, h3, p, th, td, figcaption, summary, .soft')].map(e => {
    const pair = [light(getComputedStyle(e).color), ground(e)].sort((a, b) => a - b);
    return (pair[1] + 0.05) / (pair[0] + 0.05);
  }));
}"""
"""The lowest contrast of any text (WCAG 2.2, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio)."""


@pytest.fixture
def unjudged(page: Path) -> Path:
    """A report over data without judgements, and without texts."""
    rows = [{"query": f"q {number}", "documents": ["x", "q q", f"d {number}"]} for number in range(5)]
    Path("bare.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert main(["eval", "--data", "bare.jsonl", "--config", "gateway.yaml", "--output", "bare"]) == 0
    return page.parents[1] / "bare" / "report.html"


async def test_a_report_without_judgements_is_read_too(tab: Any, unjudged: Path) -> None:
    await tab.go(unjudged.as_uri())
    assert await tab.until("document.querySelectorAll('h2').length") >= 4
    assert "Most different queries" in await tab.until("document.body.innerText")
    assert tab.problems == []
