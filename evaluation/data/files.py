"""Read files line by line; what is wrong with one is said with its name and line, never with its text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evaluation.errors import EvaluationError

Row = tuple[int, dict[str, Any]]
"""The number of a line, and the object in it."""


def lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1.

    Raises EvaluationError if the file cannot be read.
    """
    try:
        with file.open(encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except OSError as error:
        raise EvaluationError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise EvaluationError(f"{file} is not UTF-8 text") from None


def objects(file: Path) -> Iterator[Row]:
    """The objects of a file in JSON Lines. Raises EvaluationError."""
    for number, line in lines(file):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise wrong(file, number, "is not JSON") from None
        if not isinstance(value, dict):
            raise wrong(file, number, "is not a JSON object")
        yield number, value


def wrong(file: Path, number: int, problem: str) -> EvaluationError:
    """The error for a line."""
    return EvaluationError(f"{file}, line {number} {problem}")


def read_texts(file: Path) -> dict[str, str]:
    """Texts by id, of queries or documents, in the file's order.

    The file has JSON Lines with `_id` (or `id`), `text` and perhaps `title`, which comes before the text; or, if its
    name ends in .tsv or .txt, an id, a tab and a text in each line.

    Raises:
        EvaluationError: naming the line that has none of this, or an id that another line has.
    """
    texts: dict[str, str] = {}
    for number, key, text in _tabbed(file) if file.suffix in (".tsv", ".txt") else _records(file):
        if key in texts:
            raise wrong(file, number, "has an id that an earlier line has")
        texts[key] = text
    return texts


def _records(file: Path) -> Iterator[tuple[int, str, str]]:
    for number, row in objects(file):
        key, text, title = row.get("_id", row.get("id")), row.get("text"), row.get("title") or ""
        if not isinstance(key, str | int) or isinstance(key, bool) or not isinstance(text, str):
            raise wrong(file, number, "needs `_id` and `text`")
        yield number, str(key), f"{title} {text}".strip()


def _tabbed(file: Path) -> Iterator[tuple[int, str, str]]:
    for number, line in lines(file):
        key, tab, text = line.partition("\t")
        if not tab:
            raise wrong(file, number, "is not an id, a tab and a text")
        yield number, key.strip(), text.strip()
