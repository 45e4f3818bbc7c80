"""Documents in every format in which people have them, and what is said of files that are in none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.cli.document_formats import read_documents
from providers.errors import InvalidRequest

DETECTED: dict[str, tuple[str, str, list[Any]]] = {
    "text": ("", "a\nb b\n", ["a", "b b"]),
    "blank lines": ("", "\na\n\n \nb", ["a", "b"]),
    "Windows lines": ("", "a\r\nb\r\n", ["a", "b"]),
    "text like JSON": ("", '"quoted" he said\n{not JSON}\n', ['"quoted" he said', "{not JSON}"]),
    "text like an array": ("", "[1] a reference\n[2] another\n", ["[1] a reference", "[2] another"]),
    "a number first is text": ("", '1\n"a"\n', ["1", '"a"']),
    "strings": ("", '"a"\n"b\\nc"\n', ["a", "b\nc"]),
    "objects": ("", '{"text": "a", "id": 1}\r\n{"Title": "b"}\n', [{"text": "a", "id": 1}, {"Title": "b"}]),
    "strings and objects": ("", '{"text": "a"}\n"b"\n', [{"text": "a"}, "b"]),
    "an array": ("", '["a", {"text": "b"}]', ["a", {"text": "b"}]),
    "an array over several lines": ("x.json", '\n[\n "a",\n "b"\n]\n', ["a", "b"]),
    "JSON Lines in a file named json": ("x.json", '{"text": "a"}\n{"text": "b"}\n', [{"text": "a"}, {"text": "b"}]),
    "an empty array": ("", "[]", []),
    "a separator of lines within a text": ("", "a\u2028b\n", ["a\u2028b"]),
    "nothing": ("", "", []),
    "blanks": ("", " \n\n", []),
    "CSV by its name": ("a.CSV", "text\na\n", ["a"]),
    "TSV by its name": ("a.tsv", "text\tid\na\t1\n", [{"text": "a", "id": "1"}]),
    "commas in a text": ("a.txt", "text,id\na,1\n", ["text,id", "a,1"]),
}


@pytest.mark.parametrize(("name", "text", "documents"), DETECTED.values(), ids=DETECTED)
def test_the_format_is_known_by_the_name_or_the_content(name: str, text: str, documents: list[Any]) -> None:
    assert read_documents(text, "auto", name) == documents


GIVEN: dict[str, tuple[str, str, list[Any]]] = {
    "text that looks like JSON": ("text", '{"text": "a"}\n', ['{"text": "a"}']),
    "one column": ("csv", "title\na\n\nb\n", ["a", "b"]),
    "an id": ("csv", "id,text\n7,a\n", [{"id": "7", "text": "a"}]),
    "names in capitals": ("csv", "ID, Text\n7,a\n", [{"id": "7", "text": "a"}]),
    "further columns": ("csv", "text,lang,year\na,fr,2026\n", [{"text": "a", "meta": {"lang": "fr", "year": "2026"}}]),
    "no text": ("csv", "title,body\na,b\n", [{"title": "a", "body": "b"}]),
    "quotes, commas and lines": ("csv", 'text,id\n"a, ""b""\nc",1\n', [{"text": 'a, "b"\nc', "id": "1"}]),
    "Windows lines": ("csv", "text,id\r\na,1\r\n", [{"text": "a", "id": "1"}]),
    "rows of nothing": ("csv", "text,id\n,\na,1\n,,\n", [{"text": "a", "id": "1"}]),
    "a cell above the csv module's own limit": ("csv", f"text\n{'a' * 200_000}\n", ["a" * 200_000]),
    "only names": ("csv", "text,id\n", []),
    "an empty table": ("csv", "", []),
    "tabs": ("tsv", "text\tid\na, b\t1\n", [{"text": "a, b", "id": "1"}]),
    "a deep value": ("json", json.dumps([{"text": "a", "meta": {"x": [1]}}]), [{"text": "a", "meta": {"x": [1]}}]),
}


@pytest.mark.parametrize(("format", "text", "documents"), GIVEN.values(), ids=GIVEN)
def test_a_format_may_be_given(format: str, text: str, documents: list[Any]) -> None:
    assert read_documents(text, format) == documents


WRONG: dict[str, tuple[str, str, str]] = {
    "text in JSON Lines": ("auto", '{"text": "a"}\n\ntext\n', "line 3 is not a JSON string or object"),
    "broken JSON": ("auto", '{"text": "a"}\n\n{broken\n', "line 3 is not a JSON string or object"),
    "a number in JSON Lines": ("auto", '"a"\n5\n', "line 2 is not a JSON string or object"),
    "a null": ("auto", '"a"\nnull\n', "line 2 is not a JSON string or object"),
    "a list in JSON Lines": ("auto", '"a"\n[]\n', "line 2 is not a JSON string or object"),
    "JSON nested too deeply": ("jsonl", "[" * 100_000, "line 1 is not a JSON string or object"),
    "a number in an array": ("auto", '["a", 5]', "element 1 is not a string or an object"),
    "an object in place of an array": ("json", '{"documents": []}', "the documents are not a JSON array"),
    "no JSON": ("json", "text", "the documents are not a JSON array"),
    "too many cells": ("csv", "text,id\na,1\nb,2,3\n", "line 3 has 3 cells, but the first line names 2"),
    "too few cells": ("csv", "text,id\na\n", "line 2 has 1 cells, but the first line names 2"),
    "a column without a name": ("csv", "text,\na,b\n", "the first line must name each column"),
    "a column twice": ("csv", "text,Text\na,b\n", "the first line must name each column, and no name twice"),
    "an open quote": ("csv", 'text,id\n"a,1\n', "line 2 cannot be read: "),
    "a quote within": ("csv", 'text,id\n"a"b,1\n', "line 2 cannot be read: "),
}


@pytest.mark.parametrize(("format", "text", "message"), WRONG.values(), ids=WRONG)
def test_what_is_in_no_format_is_named(format: str, text: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as failure:
        read_documents(text, format)
    assert str(failure.value).startswith(message)
