"""What to conclude, in sentences that say no more than the numbers do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evaluation.measures.quality import PRIMARY
from evaluation.report.model import NONE, ORACLE, Contestant, Data

SMALL_GAP = 0.02
"""An oracle gap below this is not worth a reranker, whichever it is."""

FEW_QUERIES = 50
SIGNIFICANT = 0.05


def conclude(data: Data, contestants: Sequence[Contestant], against: str) -> list[str]:
    """The conclusions, the most important first."""
    if data.with_relevant is None:
        return ["Nothing is judged, so this says how alike the models are, and not which of them is right."]
    by_name = {each.name: each for each in contestants}
    none, oracle = by_name[NONE].measures[PRIMARY].mean, by_name[ORACLE].measures[PRIMARY].mean
    gap = oracle - none
    # Of what answered nothing there is nothing to conclude but that.
    models = [each for each in contestants if each.is_model and each.name != against and each.served]
    return [*_on_gap(none, oracle, gap, data), *_on_models(models, against, gap), *_on_trust(data, contestants)]


def _on_gap(none: float, oracle: float, gap: float, data: Data) -> Iterator[str]:
    yield f"The best order of these candidates has {PRIMARY} {oracle:.3f}, the incoming order {none:.3f}."
    if gap < SMALL_GAP:
        yield f"Not worth it: no reranker can win more than {gap:.3f} here. A better first stage may."
    missed = data.queries - (data.with_relevant or 0)
    if missed:
        have = "query has" if missed == 1 else "queries have"
        yield f"{missed} {have} no relevant candidate: only the first stage can help."


def _on_models(models: Sequence[Contestant], against: str, gap: float) -> Iterator[str]:
    ranked = sorted(models, key=lambda each: -each.measures[PRIMARY].mean)
    if not ranked or gap < SMALL_GAP:
        return
    best = ranked[0]
    comparison = best.comparisons[PRIMARY]
    difference = comparison.difference
    figures = f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}], p {comparison.p:.3g}"
    if comparison.p < SIGNIFICANT and difference.mean > 0:
        yield f"{best.name} is better than {against}: {figures}{_share(best)}."
    elif difference.mean > 0:
        yield f"Not shown to be worth it: {best.name}, the best, is not clearly better than {against}: {figures}."
    else:
        yield f"Not worth it: no model is better than {against}; the best is {best.name}: {figures}."
    for each in ranked[1:]:
        worse = each.comparisons[PRIMARY]
        if worse.p < SIGNIFICANT and worse.difference.mean < 0:
            yield f"{each.name} is worse than {against}: {worse.difference.mean:+.3f}, p {worse.p:.3g}."


def _share(contestant: Contestant) -> str:
    share = contestant.gap_share
    return "" if share is None else f"; it wins {share:.0%} of what can be won"


def _on_trust(data: Data, contestants: Sequence[Contestant]) -> Iterator[str]:
    if data.queries < FEW_QUERIES:
        yield f"{data.queries} queries are few: only large differences show. Take {FEW_QUERIES} or more to decide."
    for each in contestants:
        if each.questions and not each.served:
            yield f"{each.name} answered nothing, so its figures say nothing: {', '.join(each.failures)}."
        elif failed := sum(each.failures.values()):
            yield f"{failed} of {each.questions} queries failed with {each.name} and count as 0."
        if each.degraded:
            yield f"{each.degraded} answers of {each.name} came from a passthrough: they say nothing about the model."
        if each.is_model and len(each.served) > 1:
            yield f"{each.name} was answered by several providers: {', '.join(each.served)}."
