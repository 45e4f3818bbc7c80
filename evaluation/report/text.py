"""The report in a terminal: plain text, which pipes and logs take as well."""

from __future__ import annotations

from collections.abc import Iterator

from evaluation.measures.quality import PRIMARY
from evaluation.measures.statistics import Interval
from evaluation.report.calibrated import calibration_yaml
from evaluation.report.model import Contestant, Latency, Loss, Report
from gateway.cli.table import table
from gateway.cli.terminal import json_text, visible

MAX_LOSSES = 3
"""Queries of each contestant that are named; the report has more."""


def render(report: Report) -> str:
    """All of it but the details, which are in the files."""
    return visible("\n\n".join("\n".join(part) for part in _parts(report) if part))


def _parts(report: Report) -> Iterator[list[str]]:
    data = report.data
    yield [f"{data.name}: {data.queries:,} queries, {data.candidates:,} candidates by {data.first_stage}"]
    measured = data.with_relevant is not None
    yield [table(*(_measures(report) if measured else _costs(report)))]
    if measured:
        yield [table(*_costs(report))]
    yield [table(*_probes(report))] if any(each.reversal or each.no_answer for each in report.contestants) else []
    if not measured:
        yield [table(*_agreement(report))] if report.agreement else []
    yield list(_losses(report))
    yield list(_calibrations(report))
    yield report.verdict


def _measures(report: Report) -> tuple[list[str], list[list[str]]]:
    names = list(report.contestants[0].measures)
    titles = ["MODEL", *(name if name != PRIMARY else f"{name} [95%]" for name in names)]
    rows = []
    for each in sorted(report.contestants, key=lambda each: -each.measures[PRIMARY].mean):
        cells = [each.name, *(_measure(name, each.measures[name]) for name in names)]
        rows.append([*cells, *_comparison(each), "" if each.gap_share is None else f"{each.gap_share:.0%}"])
    return [*titles, f"VS {report.against}", "P (HOLM)", "WINS/LOSSES", "OF GAP"], rows


def _measure(name: str, interval: Interval) -> str:
    shown = f"{interval.mean:.4f}"
    return f"{shown} [{interval.low:.3f}, {interval.high:.3f}]" if name == PRIMARY else shown


def _comparison(contestant: Contestant) -> list[str]:
    found = contestant.comparisons.get(PRIMARY)
    if found is None:
        return ["", "", ""]
    return [signed(found.difference), f"{found.p:.4f}", f"{found.wins}/{found.losses}"]


def signed(interval: Interval) -> str:
    """`+0.102 [+0.070, +0.133]`"""
    return f"{interval.mean:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def _costs(report: Report) -> tuple[list[str], list[list[str]]]:
    rows = [
        [
            each.name,
            *_latency(each.latency),
            "unknown" if each.cost_per_1000 is None else f"{each.cost_per_1000:.4g}",
            "unknown" if each.truncated is None else str(each.truncated),
            ", ".join(f"{count} {code}" for code, count in each.failures.items()) or "0",
            ", ".join(each.served),
        ]
        for each in report.contestants
        if each.is_model
    ]
    return ["MODEL", "P50 MS", "P95", "P99", "USD PER 1,000", "CUT DOCUMENTS", "FAILED", "ANSWERED BY"], rows


def _latency(latency: Latency | None) -> list[str]:
    return [""] * 3 if latency is None else [f"{value:.0f}" for value in (latency.p50, latency.p95, latency.p99)]


def _probes(report: Report) -> tuple[list[str], list[list[str]]]:
    rows = []
    for each in filter(lambda each: each.is_model, report.contestants):
        turned, missing = each.reversal, each.no_answer
        change = "" if turned is None or turned.difference is None else signed(turned.difference)
        rows.append(
            [
                each.name,
                "" if turned is None else f"{turned.tau:.3f}",
                "" if turned is None else f"{turned.same_order:.0%}",
                change,
                "" if missing is None else f"{missing.auc:.3f}",
            ]
        )
    return ["MODEL", "REVERSED: TAU", "SAME ORDER", f"{PRIMARY} CHANGE", "NO ANSWER: AUC"], rows


def _agreement(report: Report) -> tuple[list[str], list[list[str]]]:
    rows = [[each.one, each.other, f"{each.tau:.3f}", f"{each.overlap:.3f}"] for each in report.agreement]
    return ["MODEL", "AND", "KENDALL TAU", "OVERLAP@10"], rows


def _losses(report: Report) -> Iterator[str]:
    measured = report.data.with_relevant is not None
    for each in report.contestants:
        if each.is_model and each.losses:
            what = f"loses most against {report.against} on" if measured else f"differs most from {report.against} on"
            shown = ", ".join(_loss(loss) for loss in each.losses[:MAX_LOSSES])
            yield f"{each.name} {what}: {shown}"


def _loss(loss: Loss) -> str:
    return f"{loss.query_id} ({loss.difference:+.3f})" + (f" {json_text(loss.query)}" if loss.query else "")


def _calibrations(report: Report) -> Iterator[str]:
    for each in report.contestants:
        if (found := each.calibration) is not None:
            raw = "are not from 0 to 1" if found.error is None else f"have a calibration error of {found.error:.3f}"
            yield f"{each.name}: scores ({each.score_space}) {raw}; with this calibration it is {found.platt_error:.3f}"
            yield from calibration_yaml(each).splitlines()
