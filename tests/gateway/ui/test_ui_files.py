"""What the pages consist of: pinned files of others with their licences, and nothing that the policy would block."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.ui.routes import ADDRESSES, FOLDER, POLICY

ROOT = Path(__file__).parents[3]
VENDORED = [*sorted((FOLDER / "vendor").iterdir()), ROOT / "tests" / "ui" / "axe"]
PAGES = sorted((FOLDER / "page").iterdir())


def sha512(content: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


@pytest.mark.parametrize("folder", VENDORED, ids=lambda folder: folder.name)
def test_every_file_of_others_is_as_it_was_pinned_and_has_its_licence(folder: Path) -> None:
    pins: dict[str, Any] = json.loads((folder / "integrity.json").read_text("utf-8"))
    there = {file.name: sha512(file.read_bytes()) for file in folder.iterdir() if file.name != "integrity.json"}
    assert there == pins["files"]
    assert "LICENSE" in there
    assert pins["package"]
    assert pins["version"]


@pytest.mark.parametrize("page", [page for page in PAGES if page.suffix == ".html"], ids=lambda page: page.name)
def test_nothing_is_inline_or_from_elsewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)", text) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", text) == []
    assert re.findall(r'(?:src|href)="(?:https?:)?//', text) == []


@pytest.mark.parametrize("script", [page for page in PAGES if page.suffix == ".js"], ids=lambda page: page.name)
def test_scripts_import_what_is_there_and_make_no_html_of_texts(script: Path) -> None:
    text = script.read_text("utf-8")
    for name in re.findall(r'from "([^"]+)"', text):
        assert any((folder / name).is_file() for folder in (FOLDER / "page", FOLDER / "vendor")), name
    assert re.findall(r"innerHTML|outerHTML|dangerouslySetInnerHTML|\beval\b|document\.write", text) == []
    assert re.findall(r"localStorage|sessionStorage|indexedDB|document\.cookie", text) == []


async def test_the_playground_is_served_with_its_policy(opened) -> None:
    client = await opened({"auth": "none", "providers": {"order": {"adapter": "passthrough"}}})
    for path in ("/", "/ui/playground.js", "/ui/preact/preact.module.js"):
        answer = await client.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["content-security-policy"] == POLICY, path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert not any(name in answer.headers for name in ("set-cookie", "access-control-allow-origin")), path
    assert "unsafe" not in POLICY
    assert (await client.get("/ui/../routes.py")).status_code == 404
    assert (await client.post("/", json={})).status_code == 405


async def test_a_gateway_that_forbids_it_has_none(opened) -> None:
    client = await opened({"auth": "none", "server": {"ui": False}, "providers": {"order": {"adapter": "passthrough"}}})
    assert [(await client.get(path)).status_code for path in ("/", "/ui/playground.js")] == [404, 404]


ACCEPT: dict[str, tuple[str | None, str]] = {
    "Chromium": ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", "text/html"),
    "in capitals": ("Text/HTML", "text/html"),
    "curl": ("*/*", "application/json"),
    "a program that wants JSON": ("application/json", "application/json"),
    "nothing said": (None, "application/json"),
    "an event stream": ("text/event-stream", "application/json"),
}


@pytest.mark.parametrize(("accept", "kind"), ACCEPT.values(), ids=ACCEPT)
async def test_browsers_get_the_page_and_programs_where_to_go(opened, accept: str | None, kind: str) -> None:
    client = await opened({"auth": "none", "providers": {"order": {"adapter": "passthrough"}}})
    client.headers.pop("accept", None)
    answer = await client.get("/", headers={} if accept is None else {"accept": accept})
    assert answer.headers["content-type"].partition(";")[0] == kind
    assert answer.headers["vary"] == "accept"
    assert answer.headers["content-security-policy"] == POLICY
    if kind == "application/json":
        assert answer.json() == ADDRESSES
        for address in (ADDRESSES["models"], ADDRESSES["documentation"], ADDRESSES["openapi"]):
            assert (await client.get(f"/{address}")).status_code == 200
