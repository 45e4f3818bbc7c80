"""The answers of one model, put back together with what was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from msgspec import Struct

from evaluation.report.model import Latency
from evaluation.run.answers import Answer
from evaluation.run.question import Question, Variant


class Ranked(Struct, frozen=True):
    """One answer, in ids of documents, best first."""

    ids: Sequence[str]
    scores: Sequence[float]


class Results:
    """All answers of one model.

    Args:
        name: of the model.
        questions: everything that was to be asked.
        answers: by key of the question. A question without an answer counts as failed.
    """

    def __init__(self, name: str, questions: Iterable[Question], answers: Mapping[str, Answer]) -> None:
        self.name = name
        self._answers: list[Answer] = []
        self._ranked: dict[Variant, dict[str, Ranked]] = {"given": {}, "reversed": {}, "no_answer": {}}
        self.failures: Counter[str] = Counter()
        self.questions = 0
        for question in questions:
            self._add(question, answers.get(question.key))

    def _add(self, question: Question, answer: Answer | None) -> None:
        is_given = question.variant == "given"
        self.questions += is_given
        if answer is None or answer.error:
            if is_given:
                self.failures[answer.error if answer else "not_asked"] += 1
            return
        if is_given:
            self._answers.append(answer)
        ids = [question.ids[index] for index in answer.indices]
        self._ranked[question.variant][question.query_id] = Ranked(ids, answer.scores)

    def ranked(self, variant: Variant = "given") -> Mapping[str, Ranked]:
        """What it answered, by query id; failures are missing."""
        return self._ranked[variant]

    def orders(self, variant: Variant = "given") -> dict[str, Sequence[str]]:
        """Document ids by query id."""
        return {query: ranked.ids for query, ranked in self._ranked[variant].items()}

    def latency(self) -> Latency | None:
        """None if no answer says how long it took."""
        known = [answer.latency for answer in self._answers if answer.latency is not None]
        return Latency(*(float(value) for value in np.percentile(known, [50, 95, 99]))) if known else None

    def cost_per_1000(self) -> float | None:
        """US dollars for 1,000 queries; None unless every answer's cost is known."""
        costs = [answer.cost for answer in self._answers if answer.cost is not None]
        return sum(costs) / len(costs) * 1000 if costs and len(costs) == len(self._answers) else None

    def tokens_per_query(self) -> float | None:
        """As the provider counts; None if it does not."""
        counts = [answer.tokens for answer in self._answers if answer.tokens is not None]
        return sum(counts) / len(counts) if counts else None

    def truncated(self) -> int | None:
        """How many documents were cut; None if no answer says."""
        counts = [answer.truncated for answer in self._answers if answer.truncated is not None]
        return sum(counts) if counts else None

    def degraded(self) -> int:
        """How many answers came from a passthrough."""
        return sum(answer.degraded for answer in self._answers)

    def served(self) -> dict[str, int]:
        """How many answers came from whom, most first."""
        return dict(Counter(answer.served for answer in self._answers).most_common())
