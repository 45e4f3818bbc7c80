"""Compare two reports, if they are over the same data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from evaluation.errors import EvaluationError
from evaluation.measures.quality import PRIMARY
from evaluation.report.build import compare_pairs
from evaluation.report.model import Comparison, Contestant, Report, decode
from evaluation.report.text import signed
from gateway.cli.table import table
from gateway.cli.terminal import visible


def read_report(path: str) -> Report:
    """The report in a file, or in the folder of an evaluation. Raises EvaluationError."""
    file = Path(path) / "report.json" if Path(path).is_dir() else Path(path)
    try:
        return decode(file.read_bytes(), str(file))
    except OSError as error:
        raise EvaluationError(f"cannot read {file}: {error.strerror}") from None


def check_same_data(one: Report, one_name: str, other: Report, other_name: str) -> None:
    """Raises EvaluationError, saying which parts of the data differ."""
    names = one.data.digests.keys() | other.data.digests.keys()
    differing = sorted(name for name in names if one.data.digests.get(name) != other.data.digests.get(name))
    if differing:
        raise EvaluationError(
            f"{one_name} and {other_name} cannot be compared: their {' and '.join(differing)} differ "
            f"({one.data.queries} and {other.data.queries} queries)"
        )


def compare(first: str, second: str) -> str:
    """A table of every model that both have; where they share none, of each of one against each of the other.

    Raises:
        EvaluationError: for reports over different data, or without judgements.
    """
    one, other = read_report(first), read_report(second)
    check_same_data(one, first, other, second)
    if one.data.with_relevant is None:
        raise EvaluationError("nothing is judged in these reports, so neither can be better")
    pairs = list(_pairs(one, other))
    if not pairs:
        raise EvaluationError("one of these reports has no model")
    found = compare_pairs([np.array(new.values) - np.array(old.values) for old, new in pairs])
    rows = [
        [
            old.name,
            new.name,
            _mean(old),
            _mean(new),
            signed(each.difference),
            f"{each.p:.4f}",
            f"{each.wins}/{each.losses}",
        ]
        for (old, new), each in zip(pairs, found, strict=True)
    ]
    titles = ["FIRST", "SECOND", PRIMARY, PRIMARY, "DIFFERENCE [95%]", "P (HOLM)", "WINS/LOSSES"]
    return visible("\n".join([table(titles, rows), "", *_differing_settings(one, other)]).rstrip())


def _cells(found: Comparison) -> list[str]:
    return [signed(found.difference), f"{found.p:.4f}", f"{found.wins}/{found.losses}"]


def _mean(contestant: Contestant) -> str:
    return f"{contestant.measures[PRIMARY].mean:.4f}"


def _pairs(one: Report, other: Report) -> Iterator[tuple[Contestant, Contestant]]:
    old = [each for each in one.contestants if each.is_model]
    new = {each.name: each for each in other.contestants if each.is_model}
    if any(each.name in new for each in old):
        yield from ((each, new[each.name]) for each in old if each.name in new)
    else:
        yield from ((each, against) for each in old for against in new.values())


def _differing_settings(one: Report, other: Report) -> Iterator[str]:
    if one.settings.max_tokens_per_doc != other.settings.max_tokens_per_doc:
        yield (
            "they differ in --max-tokens-per-doc: "
            f"{one.settings.max_tokens_per_doc} and {other.settings.max_tokens_per_doc}"
        )
    if one.settings.gateway_version != other.settings.gateway_version:
        yield f"they were made by versions {one.settings.gateway_version} and {other.settings.gateway_version}"
