"""The queue of one model: fair between requests, cut into batches of similar length, bounded in tokens.

Fairness is self-clocked fair queueing (S. J. Golestani, INFOCOM 1994). Every input gets a service tag when it arrives:
the virtual time at which it would be finished if all requests advanced in step. Inputs are served in the order of their
tags. So a small request overtakes a huge one, and nobody starves, because a tag, once given, is reached.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from providers.errors import NotReady, RerankError
from providers.local.tokens import Tokens

MAX_PADDING_SHARE = 1 / 8
"""How much of a batch's token budget may be padding."""

PRIORITY_UNIT = 100
"""A request of priority p is charged 1 + p / 100 times its tokens, so a higher number means a smaller share."""


class QueuedInput:
    """One input of the model that is in the queue or in a batch, with the jobs that wait for it.

    Attributes:
        key: equal for inputs that the model cannot tell apart.
        size: tokens, padding left out.
        service_tag: the virtual time at which it should be finished; infinite until it is queued.
        in_batch: whether it has left the queue for a batch.
    """

    __slots__ = ("in_batch", "jobs", "key", "service_tag", "size", "tokens")

    def __init__(self, tokens: Tokens, key: bytes) -> None:
        self.tokens = tokens
        self.key = key
        self.size = len(tokens.ids)
        self.service_tag = math.inf
        self.in_batch = False
        self.jobs: list[Job] = []


class Job:
    """One request's inputs, and what has come of them.

    Args:
        on_done: called once, on the engine's thread, with the job and the error or None; never for a cancelled job.

    Attributes:
        positions: by the key of each distinct input, the indexes of `rows` that its row goes to.
        pending: inputs that are still waited for.
        rows: the model's output for each input, in the order in which they were submitted.
        tokens: tokens fed for this job, each distinct input once.
        submitted_at: seconds of the queue's clock.
        compute_seconds: time spent in the batches that carried its inputs, whole, also where others shared them.
        queue_seconds: time from the submission until the last row was there, without `compute_seconds`.
    """

    def __init__(self, on_done: Callable[[Job, RerankError | None], None]) -> None:
        self.on_done = on_done
        self.positions: dict[bytes, list[int]] = {}
        self.pending: set[QueuedInput] = set()
        self.rows: list[Any] = []
        self.tokens = 0
        self.submitted_at = self.compute_seconds = self.queue_seconds = 0.0
        self.cancelled = False

    def receive(self, queued: QueuedInput, row: Any) -> None:
        """Keep the row of one of its inputs."""
        self.pending.remove(queued)
        for position in self.positions[queued.key]:
            self.rows[position] = row


def same_width(size: int) -> int:
    """The width of an input of `size` tokens where widths are not rounded up."""
    return size


def next_batch(
    waiting: Sequence[QueuedInput], budget: int, window: int = 0, width: Callable[[int], int] = same_width
) -> list[QueuedInput]:
    """Choose the next batch. Pure.

    Args:
        waiting: the inputs in the order of their service tags.
        budget: tokens that a batch may hold, padding included. A single input may be longer.
        window: how far from the front to look for inputs of similar length, in tokens; 0 means one budget.
        width: how many tokens an input of a size takes up at least. What it adds does not count as padding, because
            the input would have it in any batch.

    Returns:
        The first of `waiting`, and with it inputs of the same group and of similar length from the window.
    """
    if not waiting:
        return []
    near = sorted(_candidates(waiting, window or budget), key=lambda queued: queued.size)
    widths = [width(queued.size) for queued in near]
    sums = [0, *accumulate(widths)]
    low = high = near.index(waiting[0])
    # Sorted by length, the batch is a slice around the first input: widen it on the side that costs less padding.
    while slices := _wider_slices(low, high, widths, sums, budget):
        _, low, high = min(slices)
    return near[low : high + 1]


def _candidates(waiting: Sequence[QueuedInput], window: int) -> Iterable[QueuedInput]:
    """The front of the queue, as far as it may share a batch with the first."""
    total = 0
    for queued in waiting:
        if queued.tokens.group == waiting[0].tokens.group:
            yield queued
        total += queued.size
        if total >= window:
            return


def _wider_slices(low: int, high: int, widths: list[int], sums: list[int], budget: int) -> list[tuple[int, int, int]]:
    """The slices that are one input wider and still fit, each as (padding, low, high)."""
    slices = []
    for first, last in ((low - 1, high), (low, high + 1)):
        if first >= 0 and last < len(widths):
            total = (last - first + 1) * widths[last]
            padding = total - (sums[last + 1] - sums[first])
            if total <= budget and padding <= budget * MAX_PADDING_SHARE:
                slices.append((padding, first, last))
    return slices


class FairQueue:
    """The inputs that wait, and the jobs that wait for them. Every method may be called from any thread.

    Args:
        clock: seconds that only grow.

    Attributes:
        tokens: how many tokens wait, without those in a batch.
        closed: whether `close` was called.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.tokens = 0
        self.closed = False
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: list[QueuedInput] = []
        self._by_key: dict[bytes, QueuedInput] = {}
        self._jobs: set[Job] = set()
        self._virtual_time = 0.0

    def append(self, job: Job, inputs: Sequence[Tokens], priority: int = 0, max_tokens: int | None = None) -> bool:
        """Queue one request's inputs, unless its job is cancelled already. Raises NotReady once closed.

        Returns:
            False if more than `max_tokens` would wait then, and nothing was queued. An empty queue takes any request.
        """
        keys = [tokens.key for tokens in inputs]
        positions: dict[bytes, list[int]] = {}
        for position, key in enumerate(keys):
            positions.setdefault(key, []).append(position)
        with self._changed:
            if self.closed:
                raise NotReady("the local model was closed")
            if job.cancelled:
                return True
            new = sum(len(inputs[places[0]].ids) for key, places in positions.items() if key not in self._by_key)
            if max_tokens is not None and self.tokens and self.tokens + new > max_tokens:
                return False
            self._jobs.add(job)
            job.submitted_at, job.positions, job.rows = self._clock(), positions, [None] * len(keys)
            distinct = [self._join(job, inputs[places[0]], key) for key, places in positions.items()]
            self._tag(distinct, 1 + priority / PRIORITY_UNIT)
            self._changed.notify()
            return True

    def cancel(self, job: Job) -> None:
        """Take a job's inputs out of the queue, except those that another job waits for."""
        with self._changed:
            job.cancelled = True
            self._remove([job])

    def wait(self, timeout: float | None = None) -> bool:
        """Block until an input waits, or for so many seconds. Returns False once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self.closed, timeout)
            return not self.closed

    def next_batch(self, budget: int, width: Callable[[int], int] = same_width) -> list[QueuedInput]:
        """Take the next batch out of the queue; empty if nothing waits. The arguments are those of `next_batch`."""
        with self._changed:
            batch = next_batch(self._waiting, budget, self._window(budget), width)
            if batch:
                # The time is that of the first input, not of the batch's last: who comes now is not put behind a batch.
                self._virtual_time = max(self._virtual_time, self._waiting[0].service_tag)
            for queued in batch:
                queued.in_batch = True
                self.tokens -= queued.size
            self._waiting = [queued for queued in self._waiting if not queued.in_batch]
            return batch

    def deliver(self, rows: Mapping[QueuedInput, Any], seconds: float) -> set[Job]:
        """Give the rows of a batch, which took so many seconds, to the jobs. Returns those that are complete now."""
        now = self._clock()
        with self._changed:
            jobs = {job for queued in rows for job in queued.jobs}
            for queued, row in rows.items():
                self._forget(queued)
                for job in queued.jobs:
                    job.receive(queued, row)
            for job in jobs:
                # A job that joined while the batch ran has not waited for all of it.
                job.compute_seconds += min(seconds, now - job.submitted_at)
                job.queue_seconds = now - job.submitted_at - job.compute_seconds
            complete = {job for job in jobs if not job.pending}
            self._jobs -= complete
        return complete

    def remove_jobs(self, batch: Iterable[QueuedInput]) -> set[Job]:
        """Take out every job that waits for one of these inputs, with all its inputs. Returns the jobs."""
        with self._changed:
            jobs = {job for queued in batch for job in queued.jobs}
            self._remove(jobs)
        return jobs

    def close(self) -> None:
        """Accept nothing more, and end `wait`."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def clear(self) -> set[Job]:
        """Take out every job. Returns them."""
        with self._changed:
            jobs = set(self._jobs)
            self._remove(jobs)
        return jobs

    def _join(self, job: Job, tokens: Tokens, key: bytes) -> QueuedInput:
        """The input that is already queued or being computed for another job, else a new one."""
        queued = self._by_key.setdefault(key, QueuedInput(tokens, key))
        queued.jobs.append(job)
        job.pending.add(queued)
        job.tokens += queued.size
        return queued

    def _tag(self, inputs: list[QueuedInput], charge: float) -> None:
        """Queue what is new, the longest first. An input that two jobs want is served when the earlier tag is due."""
        tag = self._virtual_time
        for queued in sorted(inputs, key=lambda queued: -queued.size):
            tag += queued.size * charge
            if queued.service_tag == math.inf:
                self._waiting.append(queued)
                self.tokens += queued.size
            queued.service_tag = min(queued.service_tag, tag)
        self._waiting.sort(key=lambda queued: queued.service_tag)

    def _remove(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._jobs.discard(job)
            for queued in job.pending:
                queued.jobs.remove(job)
                if not queued.jobs:
                    self._forget(queued)
            job.pending = set()
        self.tokens -= sum(queued.size for queued in self._waiting if not queued.jobs)
        self._waiting = [queued for queued in self._waiting if queued.jobs]

    def _forget(self, queued: QueuedInput) -> None:
        """Let no further job join it. Its key may belong to a newer input, queued when nobody wanted this one."""
        if self._by_key.get(queued.key) is queued:
            del self._by_key[queued.key]

    def _window(self, budget: int) -> int:
        """Half a budget for every other job: about one round of all of them, in which similar lengths can be found."""
        return (len(self._jobs) - 1) * budget // 2 or budget
