"""The queries on which a contestant does worst, with what happened to their documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evaluation.data.task import Candidates, Task
from evaluation.measures.agreement import kendall_tau
from evaluation.measures.quality import Orders
from evaluation.measures.statistics import Vector
from evaluation.report.model import Document, Loss

MAX_LOSSES = 10
MAX_DOCUMENTS = 8
"""Of a loss: those that are judged relevant, then the first of both rankings."""

_FIRST = 3


def worst(task: Task, before: Orders, after: Orders, differences: Vector, show_texts: bool) -> list[Loss]:
    """The queries that lose most, worst first; those that win or stay are left out."""
    numbers = sorted((float(value), number) for number, value in enumerate(differences) if value < -1e-9)
    return [
        _loss(task, task.candidates[number], before, after, value, show_texts) for value, number in numbers[:MAX_LOSSES]
    ]


def most_different(task: Task, before: Orders, after: Orders, show_texts: bool) -> list[Loss]:
    """The queries that two contestants order most differently, where nothing is judged."""
    taus = [
        (tau, number)
        for number, each in enumerate(task.candidates)
        if (tau := kendall_tau(before.get(each.query_id, ()), after.get(each.query_id, ()))) is not None and tau < 1
    ]
    return [
        _loss(task, task.candidates[number], before, after, tau, show_texts)
        for tau, number in sorted(taus)[:MAX_LOSSES]
    ]


def _loss(
    task: Task, candidates: Candidates, before: Orders, after: Orders, difference: float, show_texts: bool
) -> Loss:
    query = candidates.query_id
    old, new = before.get(query, ()), after.get(query, ())
    gains = task.gains(query)
    old_places, new_places = _places(old), _places(new)
    documents = [
        Document(
            key,
            gains.get(key),
            old_places.get(key),
            new_places.get(key),
            task.texts.get(key) if show_texts else None,
        )
        for key in _chosen(old, new, gains)
    ]
    return Loss(query, difference, documents, candidates.query if show_texts else None)


def _chosen(old: Sequence[str], new: Sequence[str], gains: Mapping[str, int]) -> list[str]:
    relevant = sorted((key for key in old or new if gains.get(key, 0) > 0), key=lambda key: -gains[key])
    return list(dict.fromkeys([*relevant, *new[:_FIRST], *old[:_FIRST]]))[:MAX_DOCUMENTS]


def _places(ids: Sequence[str]) -> dict[str, int]:
    return {key: place for place, key in enumerate(ids, 1)}
