"""The queue of one device: fair between requests, cut into batches of similar length, bounded in tokens.

Fairness is self-clocked fair queueing (S. J. Golestani, INFOCOM 1994): every text is stamped with the virtual time at
which it would be finished if all requests advanced in step, and texts are served in the order of their stamps. A small
request overtakes a huge one, and nobody starves: a stamp, once given, is reached.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any, Protocol

from providers.errors import RerankError, TargetFailed
from providers.local.tokens import Tokens

WASTE = 8
"""At most an eighth of a batch's budget may be padding."""

PRIORITY_UNIT = 100
"""A request of priority p is charged 1 + p / 100 times its tokens."""


class Text:
    """One input in the queue, wanted by one or more jobs."""

    __slots__ = ("jobs", "key", "size", "stamp", "tokens")

    def __init__(self, tokens: Tokens, key: bytes) -> None:
        self.tokens = tokens
        self.key = key
        self.size = len(tokens.ids)
        self.stamp = 0.0
        self.jobs: list[Job] = []


class Job:
    """One request's texts and what became of them.

    Attributes:
        rows: the model's answer for each of the texts submitted, in their order.
        tokens: how many tokens were fed for this job, each distinct text once.
        compute: seconds spent in the batches that carried its texts.
        waited: seconds from the submission until the last row was there, those in `compute` left out.
    """

    def __init__(self, done: Callable[[Job, RerankError | None], None], at: float) -> None:
        self.done = done
        self.places: dict[bytes, list[int]] = {}
        self.rows: list[Any] = []
        self.tokens = 0
        self.submitted = at
        self.compute = self.waited = 0.0


class Model(Protocol):
    """What the batcher needs of a model. `launch` may return before the device is done; `collect` waits for it."""

    def launch(self, texts: Sequence[Tokens]) -> Any:
        """Start a forward pass. Raises MemoryError where the batch does not fit."""
        ...

    def collect(self, handle: Any) -> list[Any]:
        """One row for each text. Raises MemoryError where the batch did not fit."""
        ...


def take(waiting: Sequence[Text], budget: int) -> list[Text]:
    """The next batch. Pure.

    Args:
        waiting: the texts in the order of their stamps.
        budget: how many tokens a batch may hold, padding included. A single text may be longer.

    Returns:
        Texts of one group and of similar length, the first of `waiting` among them; only texts that a strictly fair
        server would serve in about the same time are considered.
    """
    if not waiting:
        return []
    near = sorted(_near(waiting, budget), key=lambda text: text.size)
    sizes = [text.size for text in near]
    sums = [0, *accumulate(sizes)]
    low = high = near.index(waiting[0])
    while spans := _grown(low, high, sizes, sums, budget):
        _, low, high = min(spans)
    return near[low : high + 1]


def _near(waiting: Sequence[Text], budget: int) -> Iterable[Text]:
    """The front of the queue, about one batch of it, as far as it may share a batch with the leader."""
    total = 0
    for text in waiting:
        if text.tokens.group == waiting[0].tokens.group:
            yield text
        total += text.size
        if total >= budget:
            return


def _grown(low: int, high: int, sizes: list[int], sums: list[int], budget: int) -> list[tuple[int, int, int]]:
    """The batches one text larger that fit, each as (padding, low, high)."""
    spans = []
    for first, last in ((low - 1, high), (low, high + 1)):
        if first >= 0 and last < len(sizes):
            padded = (last - first + 1) * sizes[last]
            waste = padded - (sums[last + 1] - sums[first])
            if padded <= budget and waste <= budget // WASTE:
                spans.append((waste, first, last))
    return spans


class Batcher:
    """The queue and the thread that empties it. `submit` and `cancel` may be called from any thread.

    Args:
        model: what computes.
        budget: tokens of one batch, padding included.
        limit: tokens that may wait.
        ahead: start the next batch before the last is collected: right where the device works by itself (a GPU), wrong
            on a CPU, where starting is computing and a prepared batch would only delay who comes next.
        clock: seconds that only grow.
    """

    def __init__(
        self, model: Model, *, budget: int, limit: int, ahead: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.budget, self.limit = budget, limit
        self._model, self._ahead, self._clock = model, ahead, clock
        self._wake = threading.Condition()
        self._waiting: list[Text] = []
        self._known: dict[bytes, Text] = {}
        self._now = 0.0
        self._started: tuple[list[Text], Any, float] | None = None
        self._closed = False
        self._thread: threading.Thread | None = None
        self.queued = 0
        self.speed = 0.0

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="rerank-engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive() and not self._closed

    def submit(self, texts: Sequence[Tokens], priority: int, done: Callable[[Job, RerankError | None], None]) -> Job:
        """Queue one request's texts; `done` is called once, on the engine's thread, unless the job is cancelled."""
        job = Job(done, self._clock())
        job.rows = [None] * len(texts)
        for place, tokens in enumerate(texts):
            job.places.setdefault(tokens.key, []).append(place)
        distinct = {places[0]: key for key, places in job.places.items()}
        with self._wake:
            fresh = [self._join(job, texts[place], key) for place, key in distinct.items()]
            self._stamp([text for text in fresh if text is not None], 1 + priority / PRIORITY_UNIT)
            self._wake.notify()
        return job

    def cancel(self, job: Job) -> None:
        """Take a job's texts out of the queue, except those that another job waits for."""
        with self._wake:
            self._leave([job])

    def close(self) -> None:
        """Stop after the batch that runs; jobs still waiting fail."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        self._fail(
            list({job for text in self._known.values() for job in text.jobs}), TargetFailed("the engine was closed")
        )

    def _join(self, job: Job, tokens: Tokens, key: bytes) -> Text | None:
        """Put the job on a text that is already known, or make a new one."""
        job.tokens += len(tokens.ids)
        known = self._known.get(key)
        text = known or Text(tokens, key)
        text.jobs.append(job)
        self._known[key] = text
        return None if known else text

    def _stamp(self, fresh: list[Text], charge: float) -> None:
        stamp = self._now
        for text in sorted(fresh, key=lambda text: -text.size):
            stamp += text.size * charge
            text.stamp = stamp
        self._waiting.extend(fresh)
        self._waiting.sort(key=lambda text: text.stamp)
        self.queued += sum(text.size for text in fresh)

    def _leave(self, jobs: Iterable[Job]) -> None:
        gone = set(jobs)
        for job in gone:
            for key in job.places:
                text = self._known.get(key)
                if text is not None and job in text.jobs:
                    text.jobs.remove(job)
                    if not text.jobs:
                        del self._known[key]
            job.places = {}
        self.queued -= sum(text.size for text in self._waiting if not text.jobs)
        self._waiting = [text for text in self._waiting if text.jobs]

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._waiting or self._started or self._closed):
                    self._wake.wait()
                if self._closed:
                    return
            self.step()

    def step(self) -> None:
        """Take a batch, start it, and collect what is due. The thread's loop; tests call it themselves."""
        batch = self._next()
        before, self._started = self._started, self._launched(batch) if batch else None
        if before is not None:
            self._finish(*before)
        if self._started is not None and not self._ahead:
            before, self._started = self._started, None
            self._finish(*before)

    def _next(self) -> list[Text]:
        with self._wake:
            batch = take(self._waiting, self.budget)
            taken = set(batch)
            self._waiting = [text for text in self._waiting if text not in taken]
            self.queued -= sum(text.size for text in batch)
            self._now = max([self._now, *(text.stamp for text in batch)])
            return batch

    def _launched(self, batch: list[Text]) -> tuple[list[Text], Any, float]:
        start = self._clock()
        try:
            return batch, self._model.launch([text.tokens for text in batch]), start
        except Exception as error:
            return batch, error, start

    def _finish(self, batch: list[Text], handle: Any, start: float) -> None:
        try:
            if isinstance(handle, Exception):
                raise handle
            rows = self._model.collect(handle)
        except MemoryError:
            self._halve(batch)
        except Exception as error:
            self._broken(batch, TargetFailed(f"the model failed on a batch: {type(error).__name__}"))
        else:
            self._deliver(batch, rows, self._clock() - start)

    def _halve(self, batch: list[Text]) -> None:
        """Out of memory: go on with half of it, and with half as large batches from here on."""
        if len(batch) == 1:
            self._broken(batch, TargetFailed(f"out of memory on a single text of {batch[0].size} tokens"))
            return
        self.budget = max(1, min(self.budget, len(batch) * batch[-1].size) // 2)
        for half in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
            self._finish(*self._launched(half))

    def _deliver(self, batch: list[Text], rows: list[Any], seconds: float) -> None:
        self._measure(sum(text.size for text in batch), seconds)
        with self._wake:
            jobs = {job for text in batch for job in text.jobs}
            for job in jobs:
                job.compute += seconds
            for text, row in zip(batch, rows, strict=True):
                self._known.pop(text.key, None)
                for job in text.jobs:
                    for place in job.places.pop(text.key):
                        job.rows[place] = row
            complete = [job for job in jobs if not job.places]
        for job in complete:
            job.waited = self._clock() - job.submitted - job.compute
            job.done(job, None)

    def _broken(self, batch: list[Text], error: RerankError) -> None:
        self._fail(list({job for text in batch for job in text.jobs}), error)

    def _fail(self, jobs: list[Job], error: RerankError) -> None:
        with self._wake:
            self._leave(jobs)
        for job in jobs:
            job.done(job, error)

    def _measure(self, tokens: int, seconds: float) -> None:
        """Tokens per second, as a moving average: what `Retry-After` is reckoned from."""
        latest = tokens / max(seconds, 1e-6)
        self.speed = latest if not self.speed else 0.9 * self.speed + 0.1 * latest
