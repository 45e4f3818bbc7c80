"""What the documents point to is there: files of this repository, tests, links, and keys of the configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config.loader import json_schema

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
SUPERSEDED = [path for path in PAGES if "\nStatus: superseded" in path.read_text(encoding="utf-8")]
"""They tell what was; nothing is asked of their references."""
CURRENT = sorted(set(PAGES) - set(SUPERSEDED))
every_page = pytest.mark.parametrize("page", CURRENT, ids=lambda path: str(path.relative_to(ROOT)))
FOLDERS = "gateway|providers|tests|benchmarks|config|deploy|docs"
INVENTED = re.compile(r"marmot")
"""The vendor of docs/adding-a-provider.md."""


ATTRIBUTES = {"server.address", "server.port"}
"""OpenTelemetry's, not ours."""
SOURCES = [path for top in ("gateway", "providers", "benchmarks") for path in sorted((ROOT / top).rglob("*.py"))]


def text_of(page: Path) -> str:
    """The page, without the blocks that are files of their own."""
    return re.sub(r"^```\w+ title=.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def quoted(page: Path) -> list[str]:
    """What stands between backticks, in the order of the page."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text_of(page), flags=re.M | re.S))


@every_page
def test_a_file_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(rf"(?<![\w/.-])(?:{FOLDERS})/[\w./-]*\w", text_of(page)))
    missing = [name for name in named if not (ROOT / name).exists() and not INVENTED.search(name)]
    assert missing == []


@every_page
def test_a_test_that_is_named_exists(page: Path) -> None:
    there = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    named = set(re.findall(r"\btest_\w+\.py\b", text_of(page)))
    assert {name for name in named if not INVENTED.search(name)} <= there


def is_module(name: str) -> bool:
    """Whether that is a module of ours, or is defined in one."""
    *folders, last = name.split(".")
    path = ROOT.joinpath(*folders)
    if (path / last).is_dir() or (path / f"{last}.py").is_file():
        return True
    sources = [
        place.read_text(encoding="utf-8")
        for place in (path.with_suffix(".py"), path / "__init__.py")
        if place.is_file()
    ]
    return any(re.search(rf"^(?:(?:async )?def |class )?{last}\b", source, re.M) for source in sources)


def lost(source: Path) -> list[str]:
    """What comments and docstrings of a module name, and is not there."""
    text = source.read_text(encoding="utf-8")
    files = re.findall(rf"(?<![\w/.-])(?:{FOLDERS})/[\w./-]*\.(?:py|md|yaml|lua|toml)\b", text)
    modules = re.findall(r"`((?:gateway|providers)(?:\.\w+)+)`", text)
    return [name for name in files if not (ROOT / name).exists()] + [
        name for name in modules if not is_module(name) and not is_key(name)
    ]


def test_what_a_comment_names_exists() -> None:
    assert {str(source.relative_to(ROOT)): names for source in SOURCES if (names := lost(source))} == {}


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_a_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", text_of(page)):
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(found), f"{page.name} links to {target}"


SCHEMA = json_schema()
SECTIONS = tuple(SCHEMA["properties"])


def resolved(node: Any) -> Iterator[dict[str, Any]]:
    """The objects that a schema may mean: references followed, alternatives one by one."""
    if "$ref" in node:
        yield from resolved(SCHEMA["$defs"][node["$ref"].rpartition("/")[2]])
    yield node
    for other in node.get("anyOf", []):
        yield from resolved(other)


def step(node: Any, name: str) -> list[Any]:
    """What a key leads to; in a mapping with names of the operator's own (`*`), or a list, to its values."""
    found: list[Any] = []
    for each in resolved(node):
        properties = each.get("properties", {})
        if name in properties:
            found.append(properties[name])
        elif isinstance(each.get("additionalProperties"), dict):
            found.append(each["additionalProperties"])
        elif "items" in each:
            found += step(each["items"], name)
    return found


def is_key(path: str) -> bool:
    nodes: list[Any] = [SCHEMA]
    for name in path.removesuffix(".*").split("."):
        nodes = [inner for node in nodes for inner in step(node, name)]
    return bool(nodes)


def keys(page: Path) -> Iterator[str]:
    """The dotted keys of the configuration on the page. One that begins with a dot goes on from the one before it."""
    parent = ""
    for name in quoted(page):
        if re.fullmatch(rf"(?:{'|'.join(SECTIONS)})(?:\.(?:[a-z_]+|\*))+", name):
            parent = name.rpartition(".")[0]
            yield name
        elif parent and re.fullmatch(r"\.[a-z_]+", name):
            yield parent + name
        else:
            parent = ""


@pytest.mark.parametrize("page", [page for page in CURRENT if page.name != "CHANGELOG.md"], ids=lambda path: path.name)
def test_a_key_that_is_named_exists(page: Path) -> None:
    unknown = [key for key in keys(page) if not is_key(key) and not is_module(key) and key not in ATTRIBUTES]
    assert unknown == [], f"{page.name} names keys that the configuration does not have"


def test_keys_are_found_and_told_apart() -> None:
    assert is_key("providers.*.retry.retries")
    assert is_key("server.shutdown_timeout")
    assert not is_key("server.grace")
    assert not is_key("providers.*.retry.pause")
    assert sum(1 for page in CURRENT for _ in keys(page)) > 50
