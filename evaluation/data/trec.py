"""TREC's files: runs (`query Q0 document rank score tag`) and judgements (`query 0 document gain`), and BEIR's.

Sources: https://github.com/usnistgov/trec_eval and https://github.com/beir-cellar/beir (2026-11)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from evaluation.data.files import lines, wrong
from evaluation.errors import EvaluationError

Run = dict[str, Sequence[str]]
"""Document ids by query id, best first."""


def read_run(file: Path) -> Run:
    """A run. As in trec_eval, the score decides and not the rank; equal scores keep the order of the file.

    Raises EvaluationError, naming the line, for what is no run, or a document that is named twice for a query.
    """
    scores: dict[str, dict[str, float]] = {}
    for number, line in lines(file):
        fields = line.split()
        if len(fields) != 6:
            raise wrong(file, number, "has not the six fields `query Q0 document rank score tag`")
        ranked = scores.setdefault(fields[0], {})
        if fields[2] in ranked:
            raise wrong(file, number, "names a document that an earlier line names for this query")
        ranked[fields[2]] = _score(file, number, fields[4])
    if not scores:
        raise EvaluationError(f"{file} is empty")
    return {query: sorted(ranked, key=lambda key: -ranked[key]) for query, ranked in scores.items()}


def read_judgements(file: Path) -> dict[str, dict[str, int]]:
    """Gains by query and document: four columns as in TREC, or three after a line of titles as in BEIR.

    Raises EvaluationError, naming the line.
    """
    judgements: dict[str, dict[str, int]] = {}
    for number, line in lines(file):
        fields = line.split()
        if number == 1 and len(fields) == 3 and not _is_integer(fields[2]):
            continue
        if len(fields) not in (3, 4) or not _is_integer(fields[-1]):
            raise wrong(file, number, "is neither `query 0 document gain` nor `query document gain`")
        judgements.setdefault(fields[0], {})[fields[-2]] = int(fields[-1])
    if not judgements:
        raise EvaluationError(f"{file} has no judgements")
    return judgements


def _score(file: Path, number: int, text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if math.isnan(score):
        raise wrong(file, number, "has a score that is not a number")
    return score


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and text.isascii()
