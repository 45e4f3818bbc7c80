"""What is asked of a model: one query with its documents, as they are or as a probe."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct

from evaluation.data.task import Candidates, Task

Variant = Literal["given", "reversed", "no_answer"]
"""given: the candidates in their order. reversed: last to first, which should change nothing. no_answer: without those
that are judged relevant, so that no score should be high."""


class Question(Struct, frozen=True):
    """One call of one model.

    Attributes:
        key: equal for equal calls: the same model behind the same gateway, parameters, query, documents and order.
        model: as the gateway knows it.
        variant: see Variant.
        query_id: whose query it is.
        ids: of the documents, in the order in which they are sent.
    """

    key: str
    model: str
    variant: Variant
    query_id: str
    ids: Sequence[str]


class Served(Struct, frozen=True):
    """What answers under a name: whatever changes the answers must be in here.

    Attributes:
        model: the name.
        fingerprint: of the gateway, its version and what the name means there.
        max_tokens_per_doc: the parameter of that name; None to send none.
    """

    model: str
    fingerprint: str
    max_tokens_per_doc: int | None = None


def questions(task: Task, served: Served, probes: int) -> Iterator[Question]:
    """Everything to ask one model: all queries, and the first `probes` of them again for each probe."""
    for number, candidates in enumerate(task.candidates):
        if not candidates.ids:
            continue
        yield _question(task, served, candidates, "given", candidates.ids)
        if number < probes:
            yield from _probes(task, served, candidates)


def _probes(task: Task, served: Served, candidates: Candidates) -> Iterator[Question]:
    ids, gains = candidates.ids, task.gains(candidates.query_id)
    if len(ids) > 1:
        yield _question(task, served, candidates, "reversed", list(reversed(ids)))
    rest = [key for key in ids if gains.get(key, 0) <= 0]
    if 0 < len(rest) < len(ids):
        yield _question(task, served, candidates, "no_answer", rest)


def _question(task: Task, served: Served, candidates: Candidates, variant: Variant, ids: Sequence[str]) -> Question:
    parts = [served.model, served.fingerprint, served.max_tokens_per_doc, candidates.query, task.documents(ids)]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    return Question(key, served.model, variant, candidates.query_id, ids)
