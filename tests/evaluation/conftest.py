"""What tests of the evaluation share: files of test data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Write = Callable[[str, Any], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file: text as it is, a list as JSON Lines."""

    def file(name: str, content: Any) -> Path:
        text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return file


@pytest.fixture
def folder(write: Write, tmp_path: Path) -> Path:
    """A collection in BEIR's layout."""
    corpus = ["the red house", "a red boat", "houses by the sea", " ", "nothing of it", "red red red"]
    write("beir/corpus.jsonl", [{"_id": f"d{number}", "text": text} for number, text in enumerate(corpus)])
    write("beir/queries.jsonl", [{"_id": "q1", "text": "red house"}, {"_id": "q2", "text": "boats"}])
    write("beir/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td0\t2\nq1\td2\t1\nq2\td1\t1\n")
    return tmp_path / "beir"
