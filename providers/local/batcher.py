"""The engine's thread: takes batches from the queue, has the model compute them, and gives the rows to their jobs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from msgspec import Struct

from providers.errors import NotReady, RerankError, TargetFailed
from providers.local.budget import BatchBudget
from providers.local.queue import FairQueue, Job, QueuedInput
from providers.local.stats import BatchStats
from providers.local.tokens import Tokens

logger = logging.getLogger(__name__)

PROBE = (Tokens([0]),)
"""A batch that every model can compute, to tell a device that fails from a text that does."""

PROBE_SECONDS = 5.0
"""Seconds between two probes of a device that failed."""

DEVICE_FAILS = "the device of the local model fails; it is probed until it works again"


class Model(Protocol):
    """What the batcher needs of a model. `launch` may return before the device is done; `collect` waits for it."""

    def width(self, size: int) -> int:
        """How many tokens an input of `size` tokens takes up at least, padding included."""
        ...

    def launch(self, texts: Sequence[Tokens]) -> Any:
        """Start a forward pass. Raises MemoryError where the batch does not fit."""
        ...

    def collect(self, handle: Any) -> list[Any]:
        """One row for each input. Raises MemoryError where the batch did not fit."""
        ...


class LaunchedBatch(Struct, frozen=True, eq=False):
    """A batch whose forward pass was started.

    Attributes:
        handle: what `Model.launch` returned; None if it failed.
        start: seconds of the batcher's clock.
        error: why it failed.
    """

    inputs: list[QueuedInput]
    handle: Any
    start: float
    error: Exception | None = None


class Batcher:
    """Empties a queue in a thread of its own.

    Args:
        model: computes the batches.
        queue: where the inputs come from.
        max_batch_tokens: tokens of one batch, padding included.
        launch_ahead: launch a batch before the last one is collected. Right where the device works by itself (a GPU);
            wrong on a CPU, where launching is computing, and a prepared batch would only delay who comes next.
        clock: seconds that only grow.

    Attributes:
        healthy: whether the device computes. After a failed batch a probe decides, and while it fails, one every
            PROBE_SECONDS; one that passes makes the device healthy again.
        stats: what the finished batches came to.
    """

    def __init__(
        self,
        model: Model,
        queue: FairQueue,
        *,
        max_batch_tokens: int,
        launch_ahead: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.healthy = True
        self.stats = BatchStats()
        self._budget = BatchBudget(max_batch_tokens)
        self._model, self._queue, self._clock = model, queue, clock
        self._launch_ahead = launch_ahead
        self._in_flight: LaunchedBatch | None = None
        # The seconds of all spans of work that are over, and when the one that is not began. One value, replaced as a
        # whole, since another thread reads it.
        self._work: tuple[float, float | None] = (0.0, None)
        self._last_end = float("-inf")
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="rerank-engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether inputs that are queued now will be computed."""
        return self._thread is not None and self._thread.is_alive() and not self._queue.closed

    @property
    def max_batch_tokens(self) -> int:
        """As given, halved each time that a batch did not fit into memory, and restored when that has passed."""
        return self._budget.tokens

    @property
    def busy_seconds(self) -> float:
        """For so long batches have been computed, without the time in which there was none. Any thread may ask."""
        total, since = self._work
        return total if since is None else total + self._clock() - since

    def close(self) -> None:
        """Close the queue, and stop after the batch that runs. Jobs that still wait fail with NotReady. Blocks."""
        self._queue.close()
        if self._thread is not None:
            self._thread.join()
        _fail(self._queue.clear(), NotReady("the local model was closed"))

    def step(self) -> bool:
        """Launch the next batch, if any waits, and collect what is due. Returns whether a batch is in flight."""
        due = self._launch_next()
        if self._launch_ahead:
            due, self._in_flight = self._in_flight, due
        if due is not None:
            self._finish(due)
        if self._in_flight is None:
            self._work = (self.busy_seconds, None)
        return self._in_flight is not None

    def _run(self) -> None:
        while self._queue.wait(None if self.healthy else PROBE_SECONDS):
            if not self.healthy:
                self.probe()
            while self.step() and not self._queue.closed:
                continue

    def probe(self) -> None:
        """Find out whether the device computes, and keep that in `healthy`. If not, all who wait fail with NotReady."""
        was_healthy = self.healthy
        try:
            self._model.collect(self._model.launch(PROBE))
        except Exception as error:
            self.healthy = False
            _fail(self._queue.clear(), NotReady(DEVICE_FAILS))
            # No text of a caller is in this batch, so the message can quote none.
            log = logger.error if was_healthy else logger.debug
            log("%s: %s: %s", DEVICE_FAILS, type(error).__name__, error)
        else:
            self.healthy = True
            if not was_healthy:
                logger.warning("the device of a local model works again")

    def _launch_next(self) -> LaunchedBatch | None:
        self._budget.recover(self._clock())
        batch = self._queue.next_batch(self.max_batch_tokens, self._model.width)
        return self._launch(batch) if batch else None

    def _launch(self, batch: list[QueuedInput]) -> LaunchedBatch:
        start = self._clock()
        if self._work[1] is None:
            self._work = (self._work[0], start)
        try:
            return LaunchedBatch(batch, self._model.launch([queued.tokens for queued in batch]), start)
        except Exception as error:
            # Kept until the batch before is collected: that may free the memory that this one lacked.
            return LaunchedBatch(batch, None, start, error)

    def _finish(self, launched: LaunchedBatch) -> None:
        batch = launched.inputs
        try:
            if launched.error is not None:
                raise launched.error
            rows = dict(zip(batch, self._model.collect(launched.handle), strict=True))
        except MemoryError:
            self._halve(batch)
        except Exception as error:
            # The message of a foreign exception may quote a text, so callers get its type only.
            self._fail_batch(batch, f"the local model failed on a batch: {type(error).__name__}")
        else:
            self._deliver(rows, launched.start)

    def _halve(self, batch: list[QueuedInput]) -> None:
        """Out of memory: compute the batch in two halves, and cut smaller batches from here on."""
        size = max(queued.size for queued in batch)
        if len(batch) == 1:
            self._fail_batch(batch, f"the local model ran out of memory on a single text of {size} tokens")
            return
        self._budget.shrink(len(batch) * self._model.width(size), self._clock())
        middle = len(batch) // 2
        for half in (batch[:middle], batch[middle:]):
            self._finish(self._launch(half))

    def _deliver(self, rows: dict[QueuedInput, Any], start: float) -> None:
        sizes, end = [queued.size for queued in rows], self._clock()
        # A batch that was launched ahead has waited for the one before: that time is not its own.
        own_seconds = end - max(start, self._last_end)
        self._last_end = end
        self.stats.record(sizes, self._model.width(max(sizes)), own_seconds)
        for job in self._queue.deliver(rows, end - start):
            job.on_done(job, None)

    def _fail_batch(self, batch: list[QueuedInput], message: str) -> None:
        _fail(self._queue.remove_jobs(batch), TargetFailed(message))
        self.probe()


def _fail(jobs: Iterable[Job], error: RerankError) -> None:
    for job in jobs:
        job.on_done(job, error)
