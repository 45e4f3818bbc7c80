"""Passages that decided, as servers write them beside a result: `[{"start", "end", "score"?}]`, in characters."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from providers.types import MAX_ANSWER_SPANS, Span
from providers.wire.json_text import parse

MAX_SPANS = 100
"""Spans kept of one document."""


def read_spans(body: bytes, name: str) -> dict[int, list[Span]]:
    """The spans of each result of an answer that has been read already, by the document's position.

    Args:
        body: of the answer, with its rows under `results`.
        name: of the field in a row. What is not of the documented shape is left out, and so are all rows behind the one
            with which there are more than MAX_ANSWER_SPANS: whoever verifies them sees that, and cuts and warns.
    """
    answer = parse(body, errors="replace")
    rows = answer.get("results") if isinstance(answer, Mapping) else None
    spans: dict[int, list[Span]] = {}
    count = 0
    for row in rows if isinstance(rows, list) else []:
        own = row.get(name) if isinstance(row, Mapping) else None
        if isinstance(own, list) and type(row.get("index")) is int:
            spans[row["index"]] = [span for each in own[:MAX_SPANS] if (span := _span(each)) is not None]
            count += len(spans[row["index"]])
        if count > MAX_ANSWER_SPANS:
            break
    return spans


def _span(value: Any) -> Span | None:
    if not isinstance(value, Mapping):
        return None
    start, end, score = (value.get(name) for name in ("start", "end", "score"))
    if type(start) is not int or type(end) is not int:
        return None
    is_number = isinstance(score, int | float) and not isinstance(score, bool) and isfinite(score)
    return Span(start, end, float(score) if is_number else None)  # type: ignore[arg-type]  # it is a number
