"""The decision records have one form and one numbering; the index names them all; every reference finds its record."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "decisions"
RECORDS = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
STATUS = r"Status: (proposed|accepted|superseded by \[(\d{4})\]\(\S+\.md\))(; [^·]+)? · 20\d\d-\d\d-\d\d"
SECTIONS = ["Context", "Considered", "Measurement", "Decision", "What it does not do", "Consequences"]
SUFFIXES = (".py", ".md", ".toml", ".yaml", ".lua")
NEEDED = {"Context", "Decision", "Consequences"}
every_record = pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.name)


def number(path: Path) -> str:
    return path.name[:4]


def title(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition("\n")[0].partition(". ")[2]


def superseding(path: Path) -> str | None:
    """The number of the record that took this one's place."""
    found = re.search(STATUS, path.read_text(encoding="utf-8"))
    return found[2] if found else None


def index_line(path: Path) -> str:
    return f"- [{number(path)}]({path.name}) {title(path)}{' (superseded)' if superseding(path) else ''}"


def texts() -> Iterator[Path]:
    """Whatever may refer to a record."""
    folders = ("gateway", "providers", "tests", "docs", "benchmarks", "config", "deploy")
    for path in [*ROOT.glob("[!.]*"), *(found for folder in folders for found in (ROOT / folder).rglob("*"))]:
        named = path.suffix in SUFFIXES or path.name in ("Makefile", "Dockerfile")
        if path.is_file() and named and "node_modules" not in path.parts:
            yield path


def test_the_numbers_run_without_gaps() -> None:
    assert [number(path) for path in RECORDS] == [f"{count:04}" for count in range(1, len(RECORDS) + 1)]


@every_record
def test_has_the_form(path: Path) -> None:
    heading, blank, status, *rest = path.read_text(encoding="utf-8").splitlines()
    assert re.fullmatch(rf"# {number(path)}\. [A-Z`].*[^.]", heading), "the heading is `# NUMBER. Title`"
    assert blank == ""
    assert re.fullmatch(STATUS, status), "line 3 is `Status: accepted · DATE`, or `superseded by [NUMBER](file)`"
    sections = [line.removeprefix("## ") for line in rest if line.startswith("#")]
    assert set(SECTIONS) >= set(sections) >= NEEDED, f"sections are ## {', '.join(SECTIONS)}"


@every_record
def test_is_in_the_index(path: Path) -> None:
    lines = (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    assert index_line(path) in lines, f"docs/decisions/README.md lacks: {index_line(path)}"


def test_the_index_lists_nothing_else() -> None:
    lines = (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("- ")] == [index_line(path) for path in RECORDS]


@pytest.mark.parametrize("path", [path for path in RECORDS if superseding(path)], ids=lambda path: path.name)
def test_a_superseded_record_is_named_by_its_successor(path: Path) -> None:
    successor = next(FOLDER.glob(f"{superseding(path)}-*.md"))
    assert f"supersedes [{number(path)}]({path.name})" in successor.read_text(encoding="utf-8").splitlines()[2]


def test_every_reference_finds_its_record() -> None:
    names = {path.name for path in RECORDS}
    numbers = {number(path) for path in RECORDS}
    for path in texts():
        text = path.read_text(encoding="utf-8")
        linked = set(re.findall(r"decisions/(\d{4}\S*?\.md)", text))
        mentioned = set(re.findall(r"[Dd]ecisions?:? (?:docs/decisions/)?(\d{4})\b", text))
        if path.parent == FOLDER:
            linked |= set(re.findall(r"\]\((\d{4}\S*?\.md)\)", text))
        assert linked <= names, f"{path.relative_to(ROOT)} links to records that do not exist"
        assert mentioned <= numbers, f"{path.relative_to(ROOT)} names records that do not exist"
