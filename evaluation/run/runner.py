"""Ask all questions, several at once, and write down each answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from evaluation.data.task import Task
from evaluation.errors import EvaluationError
from evaluation.run.answers import Answer, AnswerFile
from evaluation.run.cost import Estimator, Spending
from evaluation.run.pace import MAX_REFUSALS, TOO_FAST, Pace
from evaluation.run.question import Question
from gateway.api.dialects.unified.request import Body
from gateway.cli.asker import Asker, GatewayUnreachable, Reply, error_type
from gateway.errors import ForeignOrigin, ModelNotAllowed, PriceUnknown, Unauthorized, UnknownModel
from providers.errors import CredentialsRejected, NotReady, RerankError

MAX_FAILURES_IN_A_ROW = 10
"""After so many a model is not asked any more: its key is wrong, or it is gone. What is left counts as failed."""

NOT_ASKED = "not_asked"

SETUP_CODES = frozenset(
    error.code
    for error in (UnknownModel, Unauthorized, ModelNotAllowed, PriceUnknown, ForeignOrigin, CredentialsRejected)
)
"""Errors that tell of a name, a key or a configuration that is wrong, and nothing of the model."""


class Contestant(Struct):
    """A model while it is asked.

    Attributes:
        questions: those that have no answer yet.
        concurrency: how many are asked at once.
        max_tokens_per_doc: as in the request; None to send none.
        pace: how fast.
        failures: how many in a row.
        refusal: the first sentence that says the setup is wrong; "" without one.
    """

    questions: Iterator[Question]
    concurrency: int
    pace: Pace
    max_tokens_per_doc: int | None = None
    failures: int = 0
    refusal: str = ""


class Runner:
    """Asks.

    Args:
        asker: a gateway.
        task: has the texts.
        file: open.
        estimator, spending: what calls may cost.
        advance: told of every question that is done.
    """

    def __init__(
        self,
        asker: Asker,
        task: Task,
        file: AnswerFile,
        estimator: Estimator,
        spending: Spending,
        advance: Callable[[int], None],
    ) -> None:
        self._asker = asker
        self._task = task
        self._queries = {each.query_id: each.query for each in task.candidates}
        self._file = file
        self._estimator = estimator
        self._spending = spending
        self._advance = advance

    async def run(self, contestants: Iterable[Contestant]) -> None:
        """Ask everything. Failures are answers too.

        Raises:
            EvaluationError: when the limit on cost is reached, or a local model cannot be loaded.
            GatewayUnreachable: when the gateway itself is gone. In both cases the answers so far are kept.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for contestant in contestants:
                    for _ in range(contestant.concurrency):
                        group.create_task(self._work(contestant))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _work(self, contestant: Contestant) -> None:
        for question in contestant.questions:
            if contestant.failures >= MAX_FAILURES_IN_A_ROW:
                self._file.add(_failure(question, NOT_ASKED))
            else:
                answer = await self._answer(question, contestant)
                contestant.failures = contestant.failures + 1 if answer.error else 0
                self._file.add(answer)
            self._advance(1)

    async def _answer(self, question: Question, contestant: Contestant) -> Answer:
        """The answer, or the failure after which the question is given up."""
        pace = contestant.pace
        if not pace.turn.locked():
            await pace.wait()
            answer = await self._try(question, contestant)
            if answer.error not in TOO_FAST:
                return answer
        async with pace.turn:
            for _ in range(MAX_REFUSALS):
                await pace.wait()
                answer = await self._try(question, contestant)
                if answer.error not in TOO_FAST:
                    return answer
        contestant.failures = MAX_FAILURES_IN_A_ROW  # it takes nothing at all: what is left can wait for another run
        return answer

    async def _try(self, question: Question, contestant: Contestant) -> Answer:
        try:
            reply = await self._ask(question, contestant.max_tokens_per_doc)
        except (GatewayUnreachable, EvaluationError):
            raise
        except RerankError as error:
            failure = _failure(question, error_type(error))
            if isinstance(error, NotReady) and error.status is None:
                raise EvaluationError(f"{question.model} cannot be measured: {error.message}") from None
            if failure.error in TOO_FAST:
                contestant.pace.refused(error.retry_after)
            if _is_of_setup(error):
                contestant.refusal = contestant.refusal or error.message
            return failure
        contestant.pace.served()
        return to_answer(question, reply)

    async def _ask(self, question: Question, max_tokens_per_doc: int | None) -> Reply:
        query, documents = self._queries[question.query_id], self._task.documents(question.ids)
        estimate = self._estimator.of(question.model, query, documents) or 0.0
        self._spending.reserve(estimate)
        cost: float | None = 0.0
        try:
            # No other model may answer in place of the one that is measured.
            # A calibration is fitted to the model's own scores, and probes compare those.
            body = Body(
                scores="provider",
                model=question.model,
                query=query,
                documents=list(documents),
                fallbacks=[],
                max_tokens_per_doc=max_tokens_per_doc,
            )
            reply = await self._asker.ask(body)
            cost = reply["extra_fields"].get("cost")
            return reply
        finally:
            self._spending.settle(estimate, cost)


def to_answer(question: Question, reply: Reply) -> Answer:
    """What is kept of a reply."""
    extra: Mapping[str, Any] = reply["extra_fields"]
    usage: Mapping[str, Any] = reply.get("usage") or {}
    results: Sequence[Mapping[str, Any]] = reply["results"]
    return Answer(
        question.key,
        question.model,
        question.variant,
        question.query_id,
        indices=[row["index"] for row in results],
        scores=[row["relevance_score"] for row in results],
        latency=extra.get("latency"),
        cost=extra.get("cost"),
        tokens=usage.get("total_tokens"),
        truncated=extra.get("truncated_documents"),
        served=extra.get("provider") or "",
        degraded=bool(extra.get("degraded")),
    )


def _is_of_setup(error: RerankError) -> bool:
    """Whether the setup is wrong rather than the model weak; a 404 is a wrong name or address, whoever says it."""
    return error_type(error) in SETUP_CODES or error.status == 404


def _failure(question: Question, code: str) -> Answer:
    return Answer(question.key, question.model, question.variant, question.query_id, error=code)
