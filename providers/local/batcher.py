"""The queue of one device: fair between requests, cut into batches of similar length, bounded in tokens.

Fairness is self-clocked fair queueing (S. J. Golestani, INFOCOM 1994): every text is stamped with the virtual time at
which it would be finished if all requests advanced in step, and texts are served in the order of their stamps. A small
request overtakes a huge one, and nobody starves: a stamp, once given, is reached.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any, Protocol

from providers.errors import NotReady, RerankError, TargetFailed
from providers.local.tokens import Tokens

WASTE = 8
"""At most an eighth of a batch's budget may be padding."""

PRIORITY_UNIT = 100
"""A request of priority p is charged 1 + p / 100 times its tokens."""


class QueuedInput:
    """One input in the queue or in a batch, wanted by one or more jobs."""

    __slots__ = ("jobs", "key", "size", "stamp", "taken", "tokens")

    def __init__(self, tokens: Tokens, key: bytes) -> None:
        self.tokens = tokens
        self.key = key
        self.size = len(tokens.ids)
        self.stamp = math.inf
        self.taken = False
        self.jobs: list[Job] = []


class Job:
    """One request's texts and what became of them.

    Args:
        done: called once, on the engine's thread, with the job and the error or None; never for a cancelled job.

    Attributes:
        places: where the row of each distinct text goes.
        texts: those that are still waited for.
        rows: the model's answer for each of the texts submitted, in their order.
        tokens: how many tokens were fed for this job, each distinct text once.
        compute: seconds spent in the batches that carried its texts.
        waited: seconds from the submission until the last row was there, those in `compute` left out.
    """

    def __init__(self, done: Callable[[Job, RerankError | None], None]) -> None:
        self.done = done
        self.places: dict[bytes, list[int]] = {}
        self.texts: set[QueuedInput] = set()
        self.rows: list[Any] = []
        self.tokens = 0
        self.submitted = self.compute = self.waited = 0.0
        self.cancelled = False


class Model(Protocol):
    """What the batcher needs of a model. `launch` may return before the device is done; `collect` waits for it."""

    def width(self, size: int) -> int:
        """How many tokens a text of `size` tokens takes up at the least, padding included."""
        ...

    def launch(self, texts: Sequence[Tokens]) -> Any:
        """Start a forward pass. Raises MemoryError where the batch does not fit."""
        ...

    def collect(self, handle: Any) -> list[Any]:
        """One row for each text. Raises MemoryError where the batch did not fit."""
        ...


def exact(size: int) -> int:
    """The width of a text where nothing is rounded."""
    return size


def next_batch(
    waiting: Sequence[QueuedInput], budget: int, window: int = 0, width: Callable[[int], int] = exact
) -> list[QueuedInput]:
    """The next batch. Pure.

    Args:
        waiting: the texts in the order of their stamps.
        budget: how many tokens a batch may hold, padding included. A single text may be longer.
        window: how far to look for texts of similar length, in tokens; one budget unless told.
        width: how many tokens a text takes up in a batch. What it adds is nobody's waste: the text alone would have it.

    Returns:
        Texts of one group and of similar length, the first of `waiting` among them, the others from the window.
    """
    if not waiting:
        return []
    near = sorted(_near(waiting, window or budget), key=lambda text: text.size)
    sizes = [width(text.size) for text in near]
    sums = [0, *accumulate(sizes)]
    low = high = near.index(waiting[0])
    while spans := _grown(low, high, sizes, sums, budget):
        _, low, high = min(spans)
    return near[low : high + 1]


def _near(waiting: Sequence[QueuedInput], window: int) -> Iterable[QueuedInput]:
    """The front of the queue, as far as it may share a batch with the leader."""
    total = 0
    for text in waiting:
        if text.tokens.group == waiting[0].tokens.group:
            yield text
        total += text.size
        if total >= window:
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
        self._waiting: list[QueuedInput] = []
        self._known: dict[bytes, QueuedInput] = {}
        self._jobs: set[Job] = set()
        self._now = 0.0
        self.started: tuple[list[QueuedInput], Any, float] | None = None
        self._closed = False
        self._thread: threading.Thread | None = None
        self.queued = 0
        self.speed = 0.0
        self.batches = self.texts = self.tokens = self.padding = 0

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="rerank-engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive() and not self._closed

    def submit(self, job: Job, texts: Sequence[Tokens], priority: int = 0) -> None:
        """Queue one request's texts. Raises NotReady once closed."""
        keys = [tokens.key for tokens in texts]
        places: dict[bytes, list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(key, []).append(place)
        with self._wake:
            if self._closed:
                raise NotReady("the local model was closed")
            if job.cancelled:
                return
            self._jobs.add(job)
            job.submitted, job.places, job.rows = self._clock(), places, [None] * len(keys)
            wanted = [self._joined(job, texts[own[0]], key) for key, own in places.items()]
            self._stamp(wanted, 1 + priority / PRIORITY_UNIT)
            self._wake.notify()

    def cancel(self, job: Job) -> None:
        """Take a job's texts out of the queue, except those that another job waits for."""
        with self._wake:
            job.cancelled = True
            self._leave([job])

    def close(self) -> None:
        """Stop after the batch that runs; jobs that still wait fail."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        self._fail(set(self._jobs), NotReady("the local model was closed"))

    def _joined(self, job: Job, tokens: Tokens, key: bytes) -> QueuedInput:
        """The text that is already queued or computed for somebody else, or a new one."""
        text = self._known.setdefault(key, QueuedInput(tokens, key))
        text.jobs.append(job)
        job.texts.add(text)
        job.tokens += text.size
        return text

    def _stamp(self, wanted: list[QueuedInput], charge: float) -> None:
        """Queue what is new. What somebody already waits for is served as early as the hastier of the two would be."""
        stamp = self._now
        for text in sorted(wanted, key=lambda text: -text.size):
            stamp += text.size * charge
            if text.stamp == math.inf:
                self._waiting.append(text)
                self.queued += text.size
            text.stamp = min(text.stamp, stamp)
        self._waiting.sort(key=lambda text: text.stamp)

    def _leave(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._jobs.discard(job)
            for text in job.texts:
                text.jobs.remove(job)
                if not text.jobs:
                    self._forget(text)
            job.texts = set()
        self.queued -= sum(text.size for text in self._waiting if not text.jobs)
        self._waiting = [text for text in self._waiting if text.jobs]

    def _forget(self, text: QueuedInput) -> None:
        """Nobody can join it any more. Its key may already be another's: of one that came when nobody wanted this."""
        if self._known.get(text.key) is text:
            del self._known[text.key]

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._waiting or self.started or self._closed):
                    self._wake.wait()
                if self._closed:
                    return
            self.step()

    def step(self) -> None:
        """Take a batch, start it, and collect what is due. The thread's loop; tests call it themselves."""
        batch = self._next()
        before, self.started = self.started, self._launched(batch) if batch else None
        if before is not None:
            self._finish(*before)
        if self.started is not None and not self._ahead:
            before, self.started = self.started, None
            self._finish(*before)

    def _next(self) -> list[QueuedInput]:
        with self._wake:
            batch = next_batch(self._waiting, self.budget, self._window(), self._model.width)
            if batch:
                # The clock stands at the text served, not at the batch's last: who comes now is not put behind a batch.
                self._now = max(self._now, self._waiting[0].stamp)
            for text in batch:
                text.taken = True
                self.queued -= text.size
            self._waiting = [text for text in self._waiting if not text.taken]
            return batch

    def _window(self) -> int:
        """Half a budget for every other request: about a round of all of them, in which like lengths can be found."""
        return (len(self._jobs) - 1) * self.budget // 2 or self.budget

    def _launched(self, batch: list[QueuedInput]) -> tuple[list[QueuedInput], Any, float]:
        start = self._clock()
        try:
            return batch, self._model.launch([text.tokens for text in batch]), start
        except Exception as error:
            return batch, error, start

    def _finish(self, batch: list[QueuedInput], handle: Any, start: float) -> None:
        try:
            if isinstance(handle, Exception):
                raise handle
            rows = dict(zip(batch, self._model.collect(handle), strict=True))
        except MemoryError:
            self._halve(batch)
        except Exception as error:
            self._broken(batch, f"the local model failed on a batch: {type(error).__name__}")
        else:
            self._deliver(rows, self._clock() - start)

    def _halve(self, batch: list[QueuedInput]) -> None:
        """Out of memory: go on with half of it, and with half as large batches from here on."""
        size = max(text.size for text in batch)
        if len(batch) == 1:
            self._broken(batch, f"the local model ran out of memory on a single text of {size} tokens")
            return
        self.budget = max(1, min(self.budget, len(batch) * self._model.width(size)) // 2)
        for half in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
            self._finish(*self._launched(half))

    def _deliver(self, rows: dict[QueuedInput, Any], seconds: float) -> None:
        tokens = sum(text.size for text in rows)
        self._measure(tokens, seconds)
        self.batches += 1
        self.texts += len(rows)
        self.tokens += tokens
        self.padding += len(rows) * self._model.width(max(text.size for text in rows)) - tokens
        now = self._clock()
        with self._wake:
            jobs = {job for text in rows for job in text.jobs}
            for text, row in rows.items():
                self._forget(text)
                for job in text.jobs:
                    job.texts.remove(text)
                    for place in job.places[text.key]:
                        job.rows[place] = row
            for job in jobs:
                job.compute += min(seconds, now - job.submitted)
                job.waited = now - job.submitted - job.compute
            complete = {job for job in jobs if not job.texts}
            self._jobs -= complete
        for job in complete:
            job.done(job, None)

    def _broken(self, batch: list[QueuedInput], sentence: str) -> None:
        self._fail({job for text in batch for job in text.jobs}, TargetFailed(sentence))

    def _fail(self, jobs: set[Job], error: RerankError) -> None:
        with self._wake:
            self._leave(jobs)
        for job in jobs:
            job.done(job, error)

    def _measure(self, tokens: int, seconds: float) -> None:
        """Tokens per second, as a moving average: what `Retry-After` is reckoned from."""
        latest = tokens / max(seconds, 1e-6)
        self.speed = latest if not self.speed else 0.9 * self.speed + 0.1 * latest
