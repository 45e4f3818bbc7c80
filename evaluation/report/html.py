"""The report as one page of HTML that needs nothing else: no network, no script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files

from evaluation.measures.quality import PRIMARY
from evaluation.report import svg
from evaluation.report.calibrated import calibration_yaml
from evaluation.report.model import NONE, ORACLE, Contestant, Document, Loss, Report
from evaluation.report.text import signed

_REVERSED = (
    "<h2>Does the incoming order matter?</h2><p>The same candidates, last to first. A sound model changes nothing.</p>"
)

SERIES = 8
"""Colours in the style; contestants beyond that use them again."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The browser itself sees to it that the page loads nothing and runs nothing."""


def render(report: Report) -> str:
    """The page."""
    style = (files("evaluation.report") / "page.css").read_text("utf-8") + "".join(map(_colour, range(SERIES)))
    body = "\n".join(_sections(report))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Rerank evaluation: {escape(report.data.name)}</title>\n<style>\n{style}\n</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _colour(number: int) -> str:
    return f"\n.s{number} {{ fill: var(--s{number}); stroke: var(--s{number}); background: var(--s{number}); }}"


def _sections(report: Report) -> Iterator[str]:
    data = report.data
    yield f"<header><h1>Which reranker for {escape(data.name)}?</h1>"
    yield (
        f'<p class="soft">{data.queries:,} queries, {data.candidates:,} candidates (at most {data.top} each) by '
        f"{escape(data.first_stage)}</p></header><main>"
    )
    yield f'<div class="verdict">{"".join(f"<p>{escape(sentence)}</p>" for sentence in report.verdict)}</div>'
    if data.with_relevant is not None:
        yield "<h2>Quality</h2>" + _quality(report)
        yield '<h2>Quality, latency, cost</h2><div class="charts">' + "".join(_trade_offs(report)) + "</div>"
        yield f"<h2>Query by query, against {escape(report.against)}</h2>"
        yield '<div class="charts">' + "".join(_differences(report)) + "</div>"
    yield "<h2>What it takes</h2>" + _costs(report)
    yield from _probes(report)
    yield from _calibration(report)
    yield from _agreement(report)
    yield from _losses(report)
    yield "<h2>About this run</h2>" + _about(report) + "</main>"


def _quality(report: Report) -> str:
    names = list(report.contestants[0].measures)
    titles = ["Model", *names, f"{PRIMARY} against {report.against}", "p (Holm)", "Wins / losses", "Of the gap"]
    order = sorted(report.contestants, key=lambda each: -each.measures[PRIMARY].mean)
    return _table(titles, (_quality_row(report, each, names) for each in order))


def _quality_row(report: Report, contestant: Contestant, names: Sequence[str]) -> list[str]:
    measures = [contestant.measures[name] for name in names]
    cells = [
        f"<td>{each.mean:.4f}<br><span class=soft>[{each.low:.3f}, {each.high:.3f}]</span></td>" for each in measures
    ]
    compared = contestant.comparisons.get(PRIMARY)
    if compared is None:
        cells += ["<td></td>"] * 3
    else:
        style = "" if compared.p >= 0.05 else ' class="win"' if compared.difference.mean > 0 else ' class="loss"'
        cells += [f"<td{style}>{signed(compared.difference)}</td>", f"<td>{compared.p:.4f}</td>"]
        cells.append(f"<td>{compared.wins} / {compared.losses}</td>")
    share = "" if contestant.gap_share is None else f"{contestant.gap_share:.0%}"
    return [_name_cell(report, contestant), *cells, f"<td>{share}</td>"]


def _soft(text: str) -> str:
    return f'<span class="soft">{escape(text)}</span>'


def _name_cell(report: Report, contestant: Contestant) -> str:
    return f'<td><span class="key s{_series(report, contestant)}"></span>{escape(contestant.name)}</td>'


def _series(report: Report, contestant: Contestant) -> int:
    return report.contestants.index(contestant) % SERIES


def _trade_offs(report: Report) -> Iterator[str]:
    timed = [(each, each.latency.p50) for each in report.contestants if each.latency is not None]
    priced = [(each, each.cost_per_1000) for each in report.contestants if each.cost_per_1000 is not None]
    for title, unit, known in (
        ("Quality against latency", "milliseconds, median", timed),
        ("Quality against cost", "US dollars per 1,000 queries", priced),
    ):
        points = [_point(report, each, value) for each, value in known]
        references = [_point(report, report.find(NONE), 0.0)]
        if points:
            ceiling = report.find(ORACLE).measures[PRIMARY].mean
            chart = svg.scatter(title, unit, PRIMARY, [*references, *points], ceiling)
            yield _figure(title, chart, _legend(report, [*references, *points]) + " Dashed: oracle")
        else:
            yield f"<figure><h3>{title}</h3><p class=soft>Unknown for every model.</p></figure>"


def _point(report: Report, contestant: Contestant, x: float) -> svg.Point:
    measure = contestant.measures[PRIMARY]
    return svg.Point(contestant.name, x, measure.mean, measure.low, measure.high, _series(report, contestant))


def _legend(report: Report, points: Sequence[svg.Point]) -> str:
    shown = {each.series: each.name for each in points}
    return " ".join(f'<span><span class="key s{number}"></span>{escape(name)}</span>' for number, name in shown.items())


def _figure(title: str, chart: str, caption: str) -> str:
    return f"<figure><h3>{escape(title)}</h3>{chart}<figcaption>{caption}</figcaption></figure>"


def _differences(report: Report) -> Iterator[str]:
    baseline = report.find(report.against).values
    for each in report.contestants:
        if each.comparisons:
            values = [new - old for new, old in zip(each.values, baseline, strict=True)]
            compared = each.comparisons[PRIMARY]
            chart = svg.differences(each.name, f"{PRIMARY} difference", values)
            ties = len(values) - compared.wins - compared.losses
            yield _figure(each.name, chart, f"{compared.losses} worse, {compared.wins} better, {ties} the same")


def _costs(report: Report) -> str:
    figures = ["p50 ms", "p95", "p99", "USD per 1,000", "Tokens per query", "Cut documents", "Failed", "Answered by"]
    return _table(["Model", *figures], (_cost_row(report, each) for each in report.contestants if each.is_model))


def _cost_row(report: Report, each: Contestant) -> list[str]:
    latency = each.latency
    times = ["", "", ""] if latency is None else [f"{value:,.0f}" for value in (latency.p50, latency.p95, latency.p99)]
    failed = ", ".join(f"{count} {code}" for code, count in each.failures.items())
    cells = [
        *times,
        "unknown" if each.cost_per_1000 is None else f"{each.cost_per_1000:.4g}",
        "unknown" if each.tokens_per_query is None else f"{each.tokens_per_query:,.0f}",
        "unknown" if each.truncated is None else f"{each.truncated:,}",
        failed or "0",
        ", ".join(each.served),
    ]
    return [_name_cell(report, each), *_cells(cells)]


def _probes(report: Report) -> Iterator[str]:
    turned = [each for each in report.contestants if each.reversal is not None]
    if turned:
        yield _REVERSED
        yield _table(
            ["Model", "Queries", "Same order", "Kendall tau", f"{PRIMARY} reversed minus given"],
            ([_name_cell(report, each), *_cells(_reversal(each))] for each in turned),
        )
    missing = [each for each in report.contestants if each.no_answer is not None]
    if missing:
        yield (
            "<h2>Does a score tell that there is no answer?</h2><p>The same queries without their relevant documents: "
            "how often the best score with an answer is above one without. 1 is always, 0.5 is chance.</p>"
        )
        rows = (
            [_name_cell(report, each), *_cells([str(found.queries), f"{found.auc:.3f}"])]
            for each in missing
            if (found := each.no_answer) is not None
        )
        yield _table(["Model", "Queries", "AUC"], rows)


def _reversal(contestant: Contestant) -> list[str]:
    found = contestant.reversal
    if found is None:
        return []
    change = "" if found.difference is None else signed(found.difference)
    return [str(found.queries), f"{found.same_order:.0%}", f"{found.tau:.3f}", change]


def _calibration(report: Report) -> Iterator[str]:
    fitted = [each for each in report.contestants if each.calibration is not None]
    if not fitted:
        return
    yield (
        "<h2>Are scores probabilities?</h2><p>Solid: after Platt's calibration, measured on queries that it was not "
        "fitted on. Grey: the scores as they are, where they lie from 0 to 1. The diagonal is perfect. A document "
        'without a judgement counts as not relevant.</p><div class="charts">'
    )
    for each in fitted:
        found = each.calibration
        if found is None:
            continue
        raw = [(each.score, each.relevant, each.count) for each in found.bins]
        platt = [(each.score, each.relevant, each.count) for each in found.platt_bins]
        chart = svg.reliability(each.name, [("s0", raw), (f"s{_series(report, each)}", platt)])
        error = "not from 0 to 1" if found.error is None else f"error {found.error:.3f}"
        caption = f"{escape(each.score_space)} scores, {error}; calibrated {found.platt_error:.3f}"
        parameters = escape(calibration_yaml(each))
        snippet = f"<details><summary>The calibration</summary><pre>{parameters}</pre></details>"
        yield _figure(each.name, chart, caption + snippet)
    yield "</div>"


def _agreement(report: Report) -> Iterator[str]:
    if report.agreement:
        yield "<h2>How alike they are</h2>"
        rows = (_cells([each.one, each.other, f"{each.tau:.3f}", f"{each.overlap:.3f}"]) for each in report.agreement)
        yield _table(["Model", "And", "Kendall tau", "Overlap of the first 10"], rows)


def _losses(report: Report) -> Iterator[str]:
    losers = [each for each in report.contestants if each.is_model and each.losses]
    if losers:
        measured = report.data.with_relevant is not None
        yield f"<h2>{'Worst queries' if measured else 'Most different queries'}, against {escape(report.against)}</h2>"
    for each in losers:
        yield f"<h3>{escape(each.name)}</h3>" + "".join(map(_loss, each.losses))


def _loss(loss: Loss) -> str:
    query = f" {escape(loss.query)}" if loss.query else ""
    has_texts = any(each.text is not None for each in loss.documents)
    titles = ["Document", "Judged", "Before", "After", *(["Text"] if has_texts else [])]
    rows = _table(titles, (_move(each, has_texts) for each in loss.documents))
    return f"<details><summary><b>{escape(loss.query_id)}</b> {loss.difference:+.3f}{query}</summary>{rows}</details>"


def _move(document: Document, has_texts: bool) -> list[str]:
    before, after = document.before, document.after
    moved = 0 if before is None or after is None else before - after
    arrow = f" ▲{moved}" if moved > 0 else f" ▼{-moved}" if moved < 0 else ""
    style = ' class="win"' if moved > 0 else ' class="loss"' if moved < 0 else ""
    gain = "" if document.gain is None else str(document.gain)
    cells = _cells([document.id, gain, "" if before is None else str(before)])
    cells.append(f"<td{style}>{'' if after is None else after}{arrow}</td>")
    return [*cells, *([f'<td class="text">{escape(document.text or "")}</td>'] if has_texts else [])]


def _about(report: Report) -> str:
    data, settings = report.data, report.settings
    reachable = "not judged" if data.with_relevant is None else f"{data.with_relevant:,}"
    rows = [
        ("Queries left out, since nothing is judged relevant", f"{data.left_out:,}"),
        ("Candidates left out, since they are blank", f"{data.blank:,}"),
        ("Queries with a relevant candidate", reachable),
        ("Queries for each probe", str(settings.probes)),
        ("max_tokens_per_doc", str(settings.max_tokens_per_doc or "not sent")),
        ("Seed of the sample", str(settings.seed)),
        ("Version of the gateway's package", settings.gateway_version),
        *((f"Digest of the {name}", digest) for name, digest in data.digests.items()),
    ]
    return _table(["", ""], (_cells(row) for row in rows))


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    # Focusable, so that the keyboard can scroll it.
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(texts: Iterable[str]) -> list[str]:
    return [f"<td>{escape(text)}</td>" for text in texts]
