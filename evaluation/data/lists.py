"""JSON Lines of {query, documents, relevant}: candidates and judgements in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import Struct, field

from evaluation.data.files import objects, wrong
from evaluation.data.task import Candidates
from evaluation.errors import EvaluationError


class Lists(Struct):
    """What such a file says.

    Attributes:
        candidates: by query, in the file's order.
        texts: of the documents, by id.
        judgements: None if no line has `relevant`.
    """

    candidates: list[Candidates] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    judgements: dict[str, dict[str, int]] | None = None


def read_lists(file: Path) -> Lists:
    """Read such a file.

    Each line has `query`; `documents`, texts or objects with `text` and perhaps `id` and `title`, in the incoming
    order; and perhaps `id` of the query and `relevant`: a list of positions from 0 or of ids, or an object with the
    gain of each.

    Raises:
        EvaluationError: naming the line.
    """
    lists, seen = Lists(), set()
    for number, row in objects(file):
        query, documents = row.get("query"), row.get("documents")
        if not isinstance(query, str) or not query.strip() or not isinstance(documents, list):
            raise wrong(file, number, "needs `query`, a text that is not blank, and `documents`, a list")
        query_id = str(row.get("id", number))
        if query_id in seen:
            raise wrong(file, number, "has an `id` that an earlier line has")
        seen.add(query_id)
        try:
            ids = _add_documents(lists.texts, query_id, documents)
            if row.get("relevant") is not None:
                lists.judgements = lists.judgements or {}
                lists.judgements[query_id] = _gains(row["relevant"], ids)
        except ValueError as error:
            raise wrong(file, number, str(error)) from None
        lists.candidates.append(Candidates(query_id, query, ids))
    if not lists.candidates:
        raise EvaluationError(f"{file} is empty")
    return lists


def _add_documents(texts: dict[str, str], query_id: str, documents: list[Any]) -> list[str]:
    ids: list[str] = []
    for position, document in enumerate(documents):
        entry = {"text": document} if isinstance(document, str) else document
        if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
            raise ValueError(f"has a document at position {position} that is neither a text nor an object with `text`")
        text = f"{entry.get('title') or ''} {entry['text']}".strip()
        key = str(entry["id"]) if entry.get("id") is not None else f"{query_id}/{position}"
        if texts.setdefault(key, text) != text:
            raise ValueError(f"has a document at position {position} whose id stands for another text elsewhere")
        ids.append(key)
    if len(set(ids)) < len(ids):
        raise ValueError("has two documents with the same id")
    return ids


def _gains(relevant: Any, ids: list[str]) -> dict[str, int]:
    """The gain by document id. Raises ValueError for what is not understood."""
    gains = dict.fromkeys(relevant, 1) if _is_list(relevant) else relevant
    if not isinstance(gains, dict) or not all(type(gain) is int for gain in gains.values()):
        raise ValueError("has `relevant` that is no list of positions or ids, nor an object with whole numbers")
    return {_document(key, ids): gain for key, gain in gains.items()}


def _is_list(relevant: Any) -> bool:
    return isinstance(relevant, list) and all(type(key) in (int, str) for key in relevant)


def _document(key: str | int, ids: list[str]) -> str:
    """The id that a key of `relevant` means. A judged document need not be a candidate: first stages miss some."""
    known = isinstance(key, str) and key in ids
    position = key if isinstance(key, int) else int(key) if key.isdecimal() and not known else None
    if position is None:
        return str(key)
    if not 0 <= position < len(ids):
        raise ValueError(f"has `relevant` with position {position}, but {len(ids)} documents")
    return ids[position]
