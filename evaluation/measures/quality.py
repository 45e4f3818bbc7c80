"""nDCG, MRR, recall and precision of rankings, by trec_eval's code (ir-measures over pytrec-eval-terrier)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import ir_measures
import numpy as np
from ir_measures import RR, P, Qrel, R, ScoredDoc, nDCG
from numpy.typing import NDArray

from evaluation.data.task import Task

MEASURES = {"nDCG@10": nDCG @ 10, "MRR@10": RR @ 10, "recall@10": R @ 10, "P@1": P @ 1}
"""By the name that we show. A document counts as relevant from a gain of 1 on; nDCG takes the gain as it is."""

PRIMARY = "nDCG@10"
CUTOFF = 10

Orders = Mapping[str, Sequence[str]]
"""Document ids by query id, best first."""

Values = NDArray[np.float64]
"""By query, in the task's order, and by measure, in the order of MEASURES: from 0 to 1."""


def measure(task: Task, orders: Orders) -> Values:
    """The measures of rankings; a query without a ranking has 0 in all of them.

    The ideal of nDCG and of recall is that of all judged documents, also of those that the first stage missed.
    """
    rows = {each.query_id: number for number, each in enumerate(task.candidates)}
    columns = {str(measure): number for number, measure in enumerate(MEASURES.values())}
    values = np.zeros((len(rows), len(columns)))
    judged = [
        Qrel(each.query_id, document, gain)
        for each in task.candidates
        for document, gain in task.gains(each.query_id).items()
    ]
    if judged:
        for metric in ir_measures.iter_calc(list(MEASURES.values()), judged, _scored(orders)):
            values[rows[metric.query_id], columns[str(metric.measure)]] = metric.value
    return values


def _scored(orders: Orders) -> Iterator[ScoredDoc]:
    # The place is the score: trec_eval sorts by score, and equal scores by the document's id, against our order.
    for query, ids in orders.items():
        for place, document in enumerate(ids):
            yield ScoredDoc(query, document, -place)


def incoming(task: Task) -> dict[str, Sequence[str]]:
    """The rankings of `none`: the candidates as they came."""
    return {each.query_id: each.ids for each in task.candidates}


def oracle(task: Task) -> dict[str, Sequence[str]]:
    """The rankings of `oracle`: the candidates by what is judged, the best that any reranker can do."""
    return {each.query_id: _by_gain(each.ids, task.gains(each.query_id)) for each in task.candidates}


def reachable(task: Task) -> int:
    """How many queries have a relevant candidate: with the others, no reranker can help."""
    return sum(any(task.gains(each.query_id).get(key, 0) > 0 for key in each.ids) for each in task.candidates)


def _by_gain(ids: Sequence[str], gains: Mapping[str, int]) -> list[str]:
    return sorted(ids, key=lambda key: -gains.get(key, 0))
