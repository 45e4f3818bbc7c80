"""Read documents from a file in any of the formats in which people have them.

A document is a text, or an object: `text`, `id` and `meta` of it mean what they mean in a request, and one without
`text` is ranked as a whole.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath

from gateway.api.dialect import WireDocument
from providers.errors import InvalidRequest

MAX_CELL_CHARACTERS = 16 * 1024 * 1024
"""Characters in one cell of a CSV file; the csv module itself stops at 131,072."""

Documents = list[WireDocument]


def read_documents(text: str, format: str, name: str = "") -> Documents:
    """The documents in a text.

    Args:
        text: the whole file.
        format: a key of FORMATS, or `auto`.
        name: of the file; by its end `auto` knows CSV and TSV.

    Raises:
        InvalidRequest: naming the place, for what is not in that format.
    """
    return FORMATS[_detect(text, name) if format == "auto" else format](text)


def _detect(text: str, name: str) -> str:
    """CSV and TSV by the file's name, as any text can be read as those; the others by what is in the file."""
    suffix = PurePath(name).suffix.lower().removeprefix(".")
    if suffix in ("csv", "tsv"):
        return suffix
    if text.lstrip().startswith("[") and isinstance(_json(text), list):
        return "json"
    first = next((line for line in text.split("\n") if line.strip()), "")
    return "jsonl" if isinstance(_json(first), str | dict) else "text"


def read_text(text: str) -> Documents:
    """One document a line. Blank lines are none."""
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]


def read_json_lines(text: str) -> Documents:
    """A JSON string or object on each line. Blank lines are none."""
    documents: Documents = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            documents.append(_document(_json(line), f"line {number} is not a JSON string or object"))
    return documents


def read_json(text: str) -> Documents:
    """A JSON array of strings and objects."""
    values = _json(text)
    if not isinstance(values, list):
        raise InvalidRequest("the documents are not a JSON array of strings or objects")
    return [_document(value, f"element {index} is not a string or an object") for index, value in enumerate(values)]


def read_csv(text: str, delimiter: str = ",") -> Documents:
    """A row for each document below a row of column names. Rows of empty cells are none.

    One column is the text, whatever its name. Of several, `text` is ranked and `id` identifies; the others are `meta`.
    Without a column `text` the whole row is ranked.
    """
    rows = _rows(text, delimiter)
    _, columns = next(rows, (0, []))
    names = [column.strip() for column in columns]
    lowered = [name.lower() for name in names]
    if "" in names or len(set(lowered)) < len(names):
        raise InvalidRequest("the first line must name each column, and no name twice")
    names = [low if low in ("text", "id") else name for name, low in zip(names, lowered, strict=True)]
    documents: Documents = []
    for number, cells in rows:
        if len(cells) != len(names):
            raise InvalidRequest(f"line {number} has {len(cells)} cells, but the first line names {len(names)}")
        documents.append(_record(dict(zip(names, cells, strict=True))))
    return documents


def read_tsv(text: str) -> Documents:
    """As `read_csv`, with tabs between the cells."""
    return read_csv(text, "\t")


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with something in them, each with the number of its last line."""
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise InvalidRequest(f"line {reader.line_num} cannot be read: {error}") from None


def _record(cells: Mapping[str, str]) -> WireDocument:
    if len(cells) == 1:
        return next(iter(cells.values()))
    if "text" not in cells:
        return dict(cells)
    meta = {name: cell for name, cell in cells.items() if name not in ("text", "id")}
    named = {name: cells[name] for name in ("text", "id") if name in cells}
    return {**named, "meta": meta} if meta else named


def _document(value: object, complaint: str) -> WireDocument:
    if not isinstance(value, str | dict):
        raise InvalidRequest(complaint)
    return value


def _json(text: str) -> object:
    """The value, or None for what is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


FORMATS: Mapping[str, Callable[[str], Documents]] = {
    "text": read_text,
    "jsonl": read_json_lines,
    "json": read_json,
    "csv": read_csv,
    "tsv": read_tsv,
}
"""How each format is read, by its name on the command line."""
