"""What the probes say: position bias, and whether a score tells that there is no answer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evaluation.data.task import Task
from evaluation.measures.agreement import kendall_tau
from evaluation.measures.calibration import Calibration, calibrate
from evaluation.measures.quality import MEASURES, PRIMARY, Orders, measure
from evaluation.measures.statistics import intervals
from evaluation.report.model import NoAnswer, Reversal
from evaluation.report.results import Ranked, Results

_PRIMARY_COLUMN = list(MEASURES).index(PRIMARY)


def reversal(task: Task, results: Results) -> Reversal | None:
    """None if nothing was asked both ways."""
    given, turned = results.orders("given"), results.orders("reversed")
    both = [query for query in turned if query in given]
    taus = [tau for query in both if (tau := kendall_tau(given[query], turned[query])) is not None]
    if not taus:
        return None
    difference = None
    if task.judgements is not None:
        change = _primary(task, turned, both) - _primary(task, given, both)
        (difference,) = intervals(change[:, None])
    same = sum(list(given[query]) == list(turned[query]) for query in both)
    return Reversal(queries=len(both), same_order=same / len(both), tau=sum(taus) / len(taus), difference=difference)


def _primary(task: Task, orders: Orders, queries: list[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    wanted = set(queries)
    rows = [number for number, each in enumerate(task.candidates) if each.query_id in wanted]
    return measure(task, {query: orders[query] for query in queries})[rows, _PRIMARY_COLUMN]


def no_answer(results: Results) -> NoAnswer | None:
    """None if nothing was asked without its relevant documents."""
    with_answer, without = results.ranked("given"), results.ranked("no_answer")
    both = [query for query in without if query in with_answer]
    best, worst = _best_scores(with_answer, both), _best_scores(without, both)
    if not len(best) or not len(worst):
        return None
    # The part of all pairs that is in the right order; ties count half.
    below = np.searchsorted(np.sort(worst), best, side="left")
    upto = np.searchsorted(np.sort(worst), best, side="right")
    return NoAnswer(queries=len(both), auc=float((below + upto).sum() / 2 / (len(best) * len(worst))))


def _best_scores(ranked: Mapping[str, Ranked], queries: list[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([ranked[query].scores[0] for query in queries if len(ranked[query].scores)], dtype=np.float64)


def calibration(task: Task, results: Results) -> Calibration | None:
    """Of all scores of the candidates in their order; None where nothing is judged, or there are too few."""
    if task.judgements is None:
        return None
    scores: list[float] = []
    relevant: list[bool] = []
    queries: list[int] = []
    for number, each in enumerate(task.candidates):
        if (ranked := results.ranked().get(each.query_id)) is not None:
            gains = task.gains(each.query_id)
            scores.extend(ranked.scores)
            relevant.extend(gains.get(key, 0) > 0 for key in ranked.ids)
            queries.extend([number] * len(ranked.ids))
    return calibrate(
        np.array(scores, dtype=np.float64), np.array(relevant, dtype=bool), np.array(queries, dtype=np.int64)
    )
