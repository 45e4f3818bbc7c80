"""What decides the exit status, for builds that must not let quality drop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from evaluation.compare import check_same_data
from evaluation.errors import EvaluationError
from evaluation.measures.quality import MEASURES, PRIMARY
from evaluation.report.model import Report


def parse_floors(texts: Iterable[str]) -> dict[str, float]:
    """`nDCG@10=0.5` and the like. Raises EvaluationError."""
    floors = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in MEASURES:
            raise EvaluationError(f'--fail-under knows {", ".join(MEASURES)}, not "{name}"')
        try:
            floors[name] = float(value)
        except ValueError:
            raise EvaluationError(f"--fail-under needs a number, as in {name}=0.5") from None
    return floors


def below_floors(report: Report, floors: Mapping[str, float]) -> Iterator[str]:
    """A sentence for every model that is below a floor. Raises EvaluationError where nothing is judged."""
    if floors and report.data.with_relevant is None:
        raise EvaluationError("--fail-under needs judgements: without them there is nothing to be under")
    for each in report.contestants:
        for name, floor in floors.items() if each.is_model else ():
            mean = each.measures[name].mean
            if mean < floor:
                yield f"{each.name} has {name} {mean:.4f}, under {floor:g}"


def drops(report: Report, baseline: Report, max_drop: float) -> Iterator[str]:
    """A sentence for every model that lost more than `max_drop` of the primary measure since the baseline.

    Raises:
        EvaluationError: for a baseline over other data, without judgements, or without any of these models.
    """
    check_same_data(baseline, "the baseline", report, "this run")
    if report.data.with_relevant is None:
        raise EvaluationError("--baseline needs judgements: without them nothing can drop")
    before = {each.name: each for each in baseline.contestants if each.is_model}
    shared = [each for each in report.contestants if each.name in before]
    if not shared:
        raise EvaluationError(f"the baseline has none of these models, but {', '.join(before) or 'no model'}")
    for each in shared:
        old, new = before[each.name].measures[PRIMARY].mean, each.measures[PRIMARY].mean
        if old - new > max_drop + 1e-9:
            yield f"{each.name} dropped from {PRIMARY} {old:.4f} to {new:.4f}, by more than {max_drop:g}"
