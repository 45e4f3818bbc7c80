"""From the answers to the report: the same answers give the same report, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from msgspec import Struct

from evaluation.data.task import Task
from evaluation.measures.agreement import kendall_tau, overlap
from evaluation.measures.quality import MEASURES, PRIMARY, Orders, Values, incoming, measure, oracle, reachable
from evaluation.measures.statistics import Interval, Vector, holm, intervals, randomisation_test
from evaluation.report import losses, probes, verdict
from evaluation.report.model import NONE, ORACLE, Agreement, Comparison, Contestant, Data, Report, Settings
from evaluation.report.results import Results

_PRIMARY_COLUMN = list(MEASURES).index(PRIMARY)
_NAMES = list(MEASURES)


class Findings(Struct, frozen=True, kw_only=True):
    """What the report is made from.

    Attributes:
        task: the data.
        top: as in Data.
        results: of each model, in the order in which they are shown.
        score_spaces: by model, where they are known.
        targets: the one `provider/model` behind each model; "" where there is no one.
        against: the contestant to compare with.
        settings: to be shown.
        show_texts: whether queries and documents may be in the report.
    """

    task: Task
    top: int
    results: Sequence[Results]
    score_spaces: Mapping[str, str]
    targets: Mapping[str, str]
    against: str
    settings: Settings
    show_texts: bool


def build(findings: Findings) -> Report:
    """Make the report."""
    task = findings.task
    orders: dict[str, Orders] = {NONE: incoming(task)}
    orders |= {each.name: each.orders() for each in findings.results}
    if task.judgements is not None:
        orders[ORACLE] = oracle(task)
    contestants = _contestants(findings, orders)
    data = _data(task, findings.top)
    return Report(
        verdict=verdict.conclude(data, contestants, findings.against),
        data=data,
        settings=findings.settings,
        against=findings.against,
        contestants=contestants,
        agreement=_agreement(orders),
    )


def _data(task: Task, top: int) -> Data:
    return Data(
        name=task.name,
        first_stage=task.first_stage,
        queries=len(task.candidates),
        with_relevant=None if task.judgements is None else reachable(task),
        candidates=sum(len(each.ids) for each in task.candidates),
        top=top,
        blank=task.blank,
        left_out=task.left_out,
        digests=task.digests(),
    )


def _contestants(findings: Findings, orders: Mapping[str, Orders]) -> list[Contestant]:
    results = {each.name: each for each in findings.results}
    judged = {name: _judged(findings, orders, name) for name in orders}
    found = _measured(findings, orders) if findings.task.judgements is not None else {}
    return [
        Contestant(name=name, **found.get(name, {}), **judged[name], **_answered(findings, results.get(name)))
        for name in orders
    ]


def _answered(findings: Findings, results: Results | None) -> dict[str, Any]:
    """What only models have."""
    if results is None:
        return {}
    return {
        "questions": results.questions,
        "latency": results.latency(),
        "failures": dict(sorted(results.failures.items())),
        "degraded": results.degraded(),
        "truncated": results.truncated(),
        "cost_per_1000": results.cost_per_1000(),
        "tokens_per_query": results.tokens_per_query(),
        "served": results.served(),
        "score_space": findings.score_spaces.get(results.name, "unknown"),
        "target": findings.targets.get(results.name, ""),
        "reversal": probes.reversal(findings.task, results),
        "no_answer": probes.no_answer(results),
        "calibration": probes.calibration(findings.task, results),
    }


def _judged(findings: Findings, orders: Mapping[str, Orders], name: str) -> dict[str, Any]:
    """The queries that differ most, where nothing is judged."""
    if findings.task.judgements is not None or name == findings.against:
        return {}
    return {"losses": losses.most_different(findings.task, orders[findings.against], orders[name], findings.show_texts)}


def _measured(findings: Findings, orders: Mapping[str, Orders]) -> dict[str, dict[str, Any]]:
    """By contestant: measures, comparisons, share of the gap, losses."""
    values = {name: measure(findings.task, order) for name, order in orders.items()}
    comparisons = _compare(values, findings.against)
    none, best = (float(values[name][:, _PRIMARY_COLUMN].mean()) for name in (NONE, ORACLE))
    baseline = values[findings.against][:, _PRIMARY_COLUMN]
    found: dict[str, dict[str, Any]] = {}
    for name, columns in values.items():
        primary = columns[:, _PRIMARY_COLUMN]
        found[name] = {
            "measures": dict(zip(_NAMES, intervals(columns), strict=True)),
            "comparisons": comparisons.get(name, {}),
            "gap_share": (float(primary.mean()) - none) / (best - none) if best - none > 1e-9 else None,
            "values": [float(value) for value in primary],
            "losses": losses.worst(
                findings.task, orders[findings.against], orders[name], primary - baseline, findings.show_texts
            ),
        }
    return found


def _compare(values: Mapping[str, Values], against: str) -> dict[str, dict[str, Comparison]]:
    names = [name for name in values if name not in (against, ORACLE)]
    found: dict[str, dict[str, Comparison]] = {name: {} for name in names}
    for column, shown in enumerate(_NAMES):
        pairs = [values[name][:, column] - values[against][:, column] for name in names]
        for name, comparison in zip(names, compare_pairs(pairs), strict=True):
            found[name][shown] = comparison
    return found


def compare_pairs(differences: Sequence[Vector]) -> list[Comparison]:
    """Comparisons from the differences of each query; p is corrected for how many there are."""
    corrected = holm([randomisation_test(each) for each in differences])
    means: list[Interval] = intervals(np.column_stack(differences)) if differences else []
    return [
        Comparison(difference=mean, p=p, wins=int((each > 1e-9).sum()), losses=int((each < -1e-9).sum()))
        for each, mean, p in zip(differences, means, corrected, strict=True)
    ]


def _agreement(orders: Mapping[str, Orders]) -> list[Agreement]:
    names = [name for name in orders if name != ORACLE]
    return [found for one, other in combinations(names, 2) if (found := _agree(orders, one, other)) is not None]


def _agree(orders: Mapping[str, Orders], one: str, other: str) -> Agreement | None:
    shared = [(ids, orders[other][query]) for query, ids in orders[one].items() if query in orders[other]]
    taus = [tau for first, second in shared if (tau := kendall_tau(first, second)) is not None]
    overlaps = [part for first, second in shared if (part := overlap(first, second)) is not None]
    if not taus or not overlaps:
        return None
    return Agreement(one, other, sum(taus) / len(taus), sum(overlaps) / len(overlaps))
