"""Canary: score the same texts again and again, and say when the scores move. Vendors change models behind a name.

What the first checks see is the baseline, and how far they differ among themselves is the noise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct
from pydantic import Field

from gateway.policy.background import BackgroundTask
from gateway.policy.canary_texts import BUILT_IN, CanaryList, CanaryTexts
from gateway.policy.clock import CLOCK, Clock
from gateway.policy.target_id import TargetId
from gateway.settings import Seconds, Settings
from providers.errors import BadAnswer, RerankError
from providers.types import Backend, Call, Ranked, RerankRequest

logger = logging.getLogger(__name__)

BASELINE_CHECKS = 3
"""Times that the texts are scored for the baseline."""

RETRY_SECONDS = 60.0
"""Time until the next check after one that failed: a local model may still be loading."""

NOISE_FACTOR = 4.0
"""How many times the noise a score must move to count: as many as rule chance out, and no more."""

CanaryState = Literal["unknown", "steady", "moved"]


class CanarySettings(Settings):
    """A check that a model still gives the scores that it gave at first."""

    every: Seconds = Field(default=3600.0, ge=1, le=7 * 86_400, description="Time between two checks, as in `1h`.")
    texts: CanaryTexts = Field(
        default=[CanaryList.model_validate(entry) for entry in BUILT_IN],
        description="What is scored: lists of `query` and `documents`, or the name of a YAML file with such lists.",
    )
    tolerance: float = Field(
        default=0.02, gt=0, le=1, description="How far a score may move, as a share of the range of the first scores."
    )


class Baseline(Struct, frozen=True):
    """The scores to compare with.

    Attributes:
        scores: one for each pair of query and document.
        threshold: how far a score may move.
        range: from the lowest to the highest score.
    """

    scores: tuple[float, ...]
    threshold: float
    range: float

    @classmethod
    def of(cls, runs: Sequence[Sequence[float]], tolerance: float) -> Baseline:
        """The baseline that several scorings of the same texts give."""
        scores = tuple(sum(column) / len(runs) for column in zip(*runs, strict=True))
        range_ = max(scores) - min(scores)
        noise = max(_distance(run, scores) for run in runs)
        # Scores that are all the same have no range: then their size is what there is to compare with.
        scale = range_ or max(map(abs, scores)) or 1.0
        return cls(scores, max(tolerance * scale, NOISE_FACTOR * noise), range_)

    def drift(self, scores: Sequence[float]) -> float:
        """How far the score that moved most has moved."""
        return _distance(scores, self.scores)


class Canary(BackgroundTask):
    """The checks of one target.

    Args:
        target: which one.
        backend: the target, with policies of its own.
        settings: how often, with which texts.
        is_elected: whether this process is the one of its gateway that checks.
        seconds: how long one call may take.
        clock: replaced by tests.

    Attributes:
        target, settings: as given.
        state: unknown until there is a baseline, then steady or moved.
        drift: how far the score that moved most has moved, as a share of the range of the first scores.
        checks, failures: scorings that were tried, and those of them that failed.
    """

    def __init__(
        self,
        target: TargetId,
        backend: Backend,
        settings: CanarySettings,
        is_elected: Callable[[], bool],
        seconds: float,
        clock: Clock = CLOCK,
    ) -> None:
        self.target = target
        self.settings = settings
        self.state: CanaryState = "unknown"
        self.drift = 0.0
        self.checks = self.failures = 0
        self._backend = backend
        self._is_elected = is_elected
        self._seconds = seconds
        self._clock = clock
        self._baseline: Baseline | None = None
        self._runs: list[list[float]] = []
        self._has_failed = False
        self._due = 0.0
        self._previous: Canary | None = None

    def take_over(self, previous: Canary) -> None:
        """Go on from what another canary of the same target and with the same settings has found.

        That one goes on until this one is started: in between, local models may take minutes to load.
        """
        self._previous = previous
        self._copy(previous)

    def start(self) -> None:
        if self._previous is not None:
            self._previous.stop()
            self._copy(self._previous)
            self._previous = None
        super().start()

    def _copy(self, previous: Canary) -> None:
        self._due, self._has_failed, self._runs = previous._due, previous._has_failed, previous._runs
        self.state, self.drift, self._baseline = previous.state, previous.drift, previous._baseline
        self.checks, self.failures = previous.checks, previous.failures

    async def check(self) -> bool:
        """Score the texts and judge; at first as often as the baseline takes. Returns whether they could be scored."""
        try:
            if self._baseline is None:
                while len(self._runs) < BASELINE_CHECKS:  # Each counts, whatever comes between them.
                    self._runs.append(await self._score())
                self._baseline, self.state = Baseline.of(self._runs, self.settings.tolerance), "steady"
            else:
                await self._compare(self._baseline)
        except RerankError as error:
            if not self._has_failed:
                # By its code: the message may quote what a vendor wrote.
                logger.warning("the canary texts of %s could not be scored: %s", self.target, error.code)
            self._has_failed = True
            return False
        self._has_failed = False
        return True

    async def _compare(self, baseline: Baseline) -> None:
        drift = baseline.drift(await self._score())
        if drift > baseline.threshold and self.state != "moved":
            # Once more, so that a single odd answer wakes nobody.
            drift = min(drift, baseline.drift(await self._score()))
        self.drift = drift / baseline.range if baseline.range else drift
        self._judge("moved" if drift > baseline.threshold else "steady")

    def _judge(self, state: CanaryState) -> None:
        if state == self.state:
            return
        self.state = state
        if state == "moved":
            logger.warning(
                "the scores of %s moved by %.1f %% of their range since the first check: the model behind the name may "
                "have changed",
                self.target,
                self.drift * 100,
            )
        else:
            logger.info("the scores of %s are again what they were at the first check", self.target)

    async def _score(self) -> list[float]:
        """A score for each pair of query and document. Raises RerankError."""
        self.checks += 1
        try:
            return [score for texts in self.settings.texts for score in await self._score_list(texts)]
        except RerankError:
            self.failures += 1
            raise

    async def _score_list(self, texts: CanaryList) -> list[float]:
        call = Call(id="canary", deadline=self._clock.now() + self._seconds)
        request = RerankRequest(model="", query=texts.query, documents=list(texts.documents), call=call)
        ranking = await self._backend.rerank(request)
        if len(ranking.results) != len(texts.documents):
            raise BadAnswer("not every document was scored")
        return [result.relevance_score for result in sorted(ranking.results, key=_index)]

    async def _run(self) -> None:
        while True:
            # A reload must not cost a check: it may be the tenth of this minute.
            if (wait := self._due - self._clock.now()) > 0:
                await self._clock.sleep(wait)
            try:
                is_over = not self._is_elected() or await self.check()
            except Exception as error:  # A fault of ours must not end the checks unseen. Its message may quote texts.
                logger.error("the canary of %s failed: %s", self.target, type(error).__name__)
                is_over = False
            self._due = self._clock.now() + (
                self.settings.every if is_over else min(self.settings.every, RETRY_SECONDS)
            )


def _distance(scores: Sequence[float], others: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(scores, others, strict=True))


def _index(result: Ranked) -> int:
    return result.index
