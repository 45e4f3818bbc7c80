"""An answer in every format: nothing lost where programs read it, nothing obeyed where a terminal does."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from gateway.cli.answer_formats import FORMATS

EVIL = "a\x1b[31m\x9b\u202e\r\nb\tc"
REPLY: dict[str, Any] = {
    "id": "r",
    "model": "m",
    "results": [
        {"index": 1, "relevance_score": 0.987654321, "document": {"text": "日本, 語", "id": 7}},
        {"index": 0, "relevance_score": -2.5, "document": {"text": EVIL, "id": EVIL}},
        {"index": 2, "relevance_score": -3.0, "document": {"content": [{"type": "text", "text": "p"}]}},
    ],
    "extra_fields": {"provider": "v\x1b[0m", "latency": 12},
}


@pytest.mark.parametrize("format", FORMATS)
def test_no_format_holds_what_a_terminal_obeys(format: str) -> None:
    written = FORMATS[format](REPLY)
    assert not {"\x1b", "\x9b", "\u202e", "\r"} & set(written)


def test_json_is_the_whole_reply() -> None:
    assert json.loads(FORMATS["json"](REPLY)) == REPLY
    assert [json.loads(line) for line in FORMATS["jsonl"](REPLY).split("\n")] == REPLY["results"]


@pytest.mark.parametrize(("format", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_tables_are_read_back(format: str, delimiter: str) -> None:
    rows = list(csv.reader(io.StringIO(FORMATS[format](REPLY), newline=""), delimiter=delimiter, strict=True))
    evil = "a\ufffd[31m\ufffd\ufffd\ufffd\nb\tc"
    assert rows == [
        ["score", "index", "id", "text"],
        ["0.987654321", "1", "7", "日本, 語"],
        ["-2.5", "0", evil, evil],
        ["-3.0", "2", "", '[{"type": "text", "text": "p"}]'],
    ]


def test_text_is_the_documents_alone_one_a_line() -> None:
    assert FORMATS["text"](REPLY).split("\n")[0] == "日本, 語"
    assert len(FORMATS["text"](REPLY).split("\n")) == 3


TABLES: dict[str, tuple[dict[str, Any], int, list[str]]] = {
    "ids": ({}, 60, ["SCORE    INDEX  ID", "0.9877   1      7 "]),
    "no ids": (
        {"results": [{"index": 0, "relevance_score": 1.0, "document": {"text": "abcdefghij klmnopqrst"}}]},
        30,
        ["SCORE   INDEX  DOCUMENT", "1.0000  0      abcdefghij klm…"],
    ),
    "wide characters": (
        {"results": [{"index": 0, "relevance_score": 1.0, "document": {"text": "日" * 20}}]},
        30,
        ["SCORE   INDEX  DOCUMENT", "1.0000  0      日日日日日日日…"],
    ),
    "an alias": (
        {"results": [], "extra_fields": {"provider": "v", "latency": 3, "original_model_requested": "best"}},
        60,
        ["SCORE  INDEX  DOCUMENT", "", "best → v/m, 3 ms"],
    ),
}


@pytest.mark.parametrize(("changes", "columns", "lines"), TABLES.values(), ids=TABLES)
def test_the_table_fits_the_terminal(
    changes: dict[str, Any], columns: int, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    written = FORMATS["table"]({**REPLY, **changes}).splitlines()
    assert all(shown.startswith(line) for shown, line in zip(written, lines, strict=False))
    assert len(written) >= len(lines)
