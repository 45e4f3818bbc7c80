"""The report as a value: `report.json` is this, and every other output is made from it."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from evaluation.errors import EvaluationError
from evaluation.measures.calibration import Calibration
from evaluation.measures.statistics import Interval

FORMAT = 1
"""Grows when a report that was written before cannot be read any more."""

DIGITS = 6
"""Of every number in the report."""

NONE, ORACLE = "none", "oracle"
REFERENCES = (NONE, ORACLE)
"""Contestants that are no models: the candidates as they came, and in the best order."""


class Data(Struct, frozen=True, kw_only=True):
    """What was evaluated on.

    Attributes:
        name, first_stage, blank, left_out: as in Task.
        queries: how many.
        with_relevant: how many of them have a relevant candidate; None where nothing is judged.
        candidates: in all.
        top: the most that a query may have.
        digests: of each part of the data, by its name.
    """

    name: str
    first_stage: str
    queries: int
    with_relevant: int | None
    candidates: int
    top: int
    blank: int
    left_out: int
    digests: dict[str, str]


class Comparison(Struct, frozen=True, kw_only=True):
    """One measure of a contestant against that of the baseline, query by query.

    Attributes:
        difference: of the means.
        p: of the paired randomisation test, corrected by Holm's method for the number of contestants.
        wins, losses: queries that are better, and worse.
    """

    difference: Interval
    p: float
    wins: int
    losses: int


class Latency(Struct, frozen=True):
    """Milliseconds within the gateway, at the concurrency of the evaluation."""

    p50: float
    p95: float
    p99: float


class Reversal(Struct, frozen=True, kw_only=True):
    """What happens when the candidates come last to first: nothing should.

    Attributes:
        queries: how many were asked both ways.
        same_order: which part of them has the same order both ways.
        tau: Kendall's tau between both orders, on average.
        difference: of the primary measure, reversed minus given; None where nothing is judged.
    """

    queries: int
    same_order: float
    tau: float
    difference: Interval | None


class NoAnswer(Struct, frozen=True, kw_only=True):
    """Whether the best score tells that no candidate is relevant.

    Attributes:
        queries: how many were asked with and without their relevant documents.
        auc: the probability that the best score with an answer is higher than one without: 1 is perfect, 0.5 is chance.
    """

    queries: int
    auc: float


class Document(Struct, frozen=True, omit_defaults=True):
    """A document of a query that a contestant ranks worse than the baseline does.

    Attributes:
        id: of the document.
        gain: as judged; None without a judgement.
        before, after: its place from 1 in the baseline's ranking and in the contestant's; None if it is not in there.
        text: only if texts are to be shown.
    """

    id: str
    gain: int | None
    before: int | None
    after: int | None
    text: str | None = None


class Loss(Struct, frozen=True, omit_defaults=True):
    """A query that a contestant ranks worse, or otherwise than others do.

    Attributes:
        query_id: which.
        difference: of the primary measure; without judgements, Kendall's tau to the baseline.
        documents: those that matter.
        query: its text, only if texts are to be shown.
    """

    query_id: str
    difference: float
    documents: list[Document]
    query: str | None = None


class Contestant(Struct, frozen=True, kw_only=True):
    """What was found of one contestant.

    Attributes:
        name: of the model, or of a reference.
        measures: by name; empty where nothing is judged.
        comparisons: by measure; empty for the baseline, for `oracle`, and where nothing is judged.
        gap_share: how much of the difference between the incoming order and the oracle it wins; 1 is all, less than 0
            is a loss. None where there is nothing to win.
        questions: how many it was asked, without probes.
        latency: None for what answered nothing.
        failures: how many queries failed, by code. They count as 0.
        degraded: how many answers came from a passthrough in its place.
        truncated: how many documents were cut; None if the provider does not say.
        cost_per_1000: US dollars per 1,000 queries; None if unknown.
        tokens_per_query: as the provider counted them.
        served: how many answers came from each provider.
        score_space: what its scores are, as far as it is known.
        target: the one `provider/model` behind its name; "" if it is not known, or there are several.
        reversal, no_answer, calibration: None where it was not, or could not be measured.
        losses: the queries on which it is worst against the baseline.
        values: the primary measure of each query, in the order of the data.
    """

    name: str
    measures: dict[str, Interval] = {}
    comparisons: dict[str, Comparison] = {}
    gap_share: float | None = None
    questions: int = 0
    latency: Latency | None = None
    failures: dict[str, int] = {}
    degraded: int = 0
    truncated: int | None = None
    cost_per_1000: float | None = None
    tokens_per_query: float | None = None
    served: dict[str, int] = {}
    score_space: str = "unknown"
    target: str = ""
    reversal: Reversal | None = None
    no_answer: NoAnswer | None = None
    calibration: Calibration | None = None
    losses: list[Loss] = []
    values: list[float] = []

    @property
    def is_model(self) -> bool:
        """Whether it was asked, rather than computed."""
        return self.name not in REFERENCES


class Agreement(Struct, frozen=True):
    """How alike two contestants rank: Kendall's tau over all candidates and overlap of the first ten, on average."""

    one: str
    other: str
    tau: float
    overlap: float


class Settings(Struct, frozen=True, kw_only=True):
    """What the answers depend on besides the data."""

    max_tokens_per_doc: int | None
    probes: int
    seed: int
    gateway_version: str


class Report(Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        format: see FORMAT.
        verdict: the conclusions, in sentences.
        against: the contestant that the others are compared with.
        agreement: of each two contestants but `oracle`.
    """

    format: int = FORMAT
    verdict: list[str]
    data: Data
    settings: Settings
    against: str
    contestants: list[Contestant]
    agreement: list[Agreement]

    def find(self, name: str) -> Contestant:
        """The contestant of that name. Raises LookupError."""
        return next(each for each in self.contestants if each.name == name)


def encode(report: Report) -> bytes:
    """As JSON, the same bytes for the same report."""
    return msgspec.json.format(msgspec.json.encode(_round(msgspec.to_builtins(report))), indent=1) + b"\n"


def decode(content: bytes, name: str) -> Report:
    """Read `report.json`. Raises EvaluationError for anything else, with the file's name."""
    try:
        report = msgspec.json.decode(content, type=Report)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise EvaluationError(f"{name} is no report of an evaluation") from None
    if report.format != FORMAT:
        raise EvaluationError(f"{name} has format {report.format}, and this version reads {FORMAT}; evaluate again")
    return report


def _round(tree: Any) -> Any:
    if isinstance(tree, float):
        return round(tree, DIGITS) + 0.0  # no minus zero
    if isinstance(tree, dict):
        return {key: _round(value) for key, value in tree.items()}
    return [_round(value) for value in tree] if isinstance(tree, list) else tree
