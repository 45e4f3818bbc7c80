"""Write an answer in the formats that people and programs take.

None of them holds a control character that a terminal would obey. In JSON they are escaped, so that nothing is lost;
elsewhere U+FFFD stands for each.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Mapping

import msgspec

from gateway.api.dialects.unified.answer import Answer, EchoedDocument, Result
from gateway.cli.asker import Reply
from gateway.cli.table import table
from gateway.cli.terminal import json_text, one_line, visible

WIDTH_WITHOUT_TERMINAL = (120, 24)
"""Columns and lines where there is no terminal to ask."""


def as_table(reply: Reply) -> str:
    """Scores, positions, ids where there are any, and as much of each document as a line of the terminal holds."""
    answer = msgspec.convert(reply, Answer)
    with_ids = any(result.document is not None and result.document.id is not None for result in answer.results)
    rows = [
        [f"{result.relevance_score:.4f}", str(result.index), *([_id(result)] if with_ids else []), _text(result)]
        for result in answer.results
    ]
    titles = ["SCORE", "INDEX", *(["ID"] if with_ids else []), "DOCUMENT"]
    width = shutil.get_terminal_size(WIDTH_WITHOUT_TERMINAL).columns
    served = one_line(f"{_served(answer)}, {answer.extra_fields.latency} ms")
    return f"{table(titles, rows, width)}\n\n{served}"


def _served(answer: Answer) -> str:
    """`provider/model`; with the alias that was asked for before it: `best → cohere/rerank-v3.5`."""
    fields = answer.extra_fields
    target = f"{fields.provider}/{fields.resolved_model_used or answer.model}"
    asked = fields.original_model_requested
    return target if asked in (None, target) else f"{asked} → {target}"


def as_json(reply: Reply) -> str:
    """The whole answer."""
    return json_text(reply, indent=2)


def as_json_lines(reply: Reply) -> str:
    """A result on each line."""
    return "\n".join(json_text(result) for result in reply["results"])


def as_csv(reply: Reply, delimiter: str = ",") -> str:
    """A row for each result below a row of column names."""
    answer, out = msgspec.convert(reply, Answer), io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(["score", "index", "id", "text"])
    for result in answer.results:
        writer.writerow([result.relevance_score, result.index, visible(_id(result)), visible(_text(result))])
    return out.getvalue().removesuffix("\n")


def as_tsv(reply: Reply) -> str:
    """As `as_csv`, with tabs between the cells."""
    return as_csv(reply, "\t")


def as_text(reply: Reply) -> str:
    """The documents alone, one a line, the best first."""
    return "\n".join(one_line(_text(result)) for result in msgspec.convert(reply, Answer).results)


def _id(result: Result) -> str:
    value = result.document.id if result.document else None
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text(result: Result) -> str:
    """The document's text; content parts as JSON."""
    document = result.document or EchoedDocument()
    return document.text or json_text(document.content) if document.content else document.text or ""


FORMATS: Mapping[str, Callable[[Reply], str]] = {
    "table": as_table,
    "json": as_json,
    "jsonl": as_json_lines,
    "csv": as_csv,
    "tsv": as_tsv,
    "text": as_text,
}
"""How each format is written, by its name on the command line."""
