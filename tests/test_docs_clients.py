"""Every line of docs/clients.md is run by a client's test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.clients.run import SNIPPETS

ROOT = Path(__file__).parent.parent
NAMES = re.findall(r"^```(?:python|js) (\S+)$", (ROOT / "docs/clients.md").read_text(), re.M)
TESTS = "\n".join(
    path.read_text()
    for path in (ROOT / "tests/clients").glob("**/*.*")
    if path.suffix in (".py", ".mjs") and "node_modules" not in path.parts
)
LITELLM = re.findall(r'"(\w+)"', re.search(r"PREFIXES = \[(.*?)\]", TESTS)[1])  # type: ignore[index]
RUN = set(re.findall(r'(?:by|v1|v2|run)\("([\w.-]+)"', TESTS)) | set(re.findall(r'documented\("([\w-]+)"', TESTS))
RUN |= {f"litellm-{prefix}" for prefix in [*LITELLM, "infinity"]}


def test_the_page_has_lines() -> None:
    assert len(NAMES) > 20
    assert len(NAMES) == len(set(NAMES))


def test_each_snippet_is_run_whole() -> None:
    page = (ROOT / "docs/clients.md").read_text()
    assert sorted(" ".join(SNIPPETS.values()).split()) == sorted(re.findall(r"^```python (\S+)$", page, re.M))


@pytest.mark.parametrize("name", NAMES)
def test_a_test_runs_the_line(name: str) -> None:
    assert name in RUN
