"""Work that takes long is done in a few threads, so that no request holds up the event loop, and with it all others.

Up to a size the work is cheaper than the way to a thread and back (0.1 ms), and is done at once. The threads share the
interpreter with the event loop, so they cost it some speed, but it goes on between their steps.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Generic, TypeVar

from gateway.errors import DeadlineExceeded
from providers.errors import Overloaded, RerankError

Result = TypeVar("Result")

INLINE_BYTES = 512 * 1024
"""Work on so many bytes is done at once where it costs no more than some nanoseconds for each."""

MAX_THREADS = 2
"""More would gain nothing, since only one at a time runs Python code."""

MAX_BYTES = 512 * 1024 * 1024
"""Bytes of all work that is waiting or under way. More is refused, so that callers cannot fill the memory with it."""


class Cancelled(Exception):
    """Nobody waits for the result of this work any more."""


class _Job(Generic[Result]):
    """One piece of work, and whether somebody waits for it."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self.cancelled = False

    def run(self) -> Result:
        _thread.job = self
        try:
            return self._work()
        except RerankError as error:
            # The frames that it went through hold all that was read so far, which takes long to free: here, not later.
            error.__context__ = None
            raise error.with_traceback(None) from None
        finally:
            _thread.job = None


_thread = threading.local()
"""Its `job` is what the current thread works at."""


def check_cancelled() -> None:
    """To be called now and then by work that takes long. Raises Cancelled if nobody waits for the result any more."""
    job: _Job[Any] | None = getattr(_thread, "job", None)
    if job is not None and job.cancelled:
        raise Cancelled


class BlockingPool:
    """Runs work in threads, within a bound on the threads and on the bytes.

    Args:
        threads: how many, at most. They start when first needed.
        max_bytes: of all work that is waiting or under way. One piece of work may be larger if it is the only one.
    """

    def __init__(self, threads: int = MAX_THREADS, max_bytes: int = MAX_BYTES) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="blocking")
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self.bytes = 0

    async def run(self, size: int, work: Callable[[], Result], deadline: float | None = None) -> Result:
        """The work's result, or its exception. If this is cancelled, so is the work: see `check_cancelled`.

        Args:
            size: bytes that the work is about.
            work: a function without arguments.
            deadline: in seconds of `time.monotonic()`; None is no limit.

        Raises:
            Overloaded: there is too much work already.
            DeadlineExceeded: the deadline has passed.
        """
        job = _Job(work)
        future = self._submit(size, job)
        try:
            # asyncio's own clock is time.monotonic() as well.
            async with asyncio.timeout_at(deadline):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            # It was our own threads that were waited for, not a target.
            message = "the time allowed for this call was used up while its texts were read"
            raise DeadlineExceeded(message, waited=0.0) from None
        finally:
            job.cancelled = True

    def _submit(self, size: int, job: _Job[Result]) -> Future[Result]:
        with self._lock:
            if self.bytes and self.bytes + size > self._max_bytes:
                raise Overloaded("too many large requests are being read at once; try again later", retry_after=1)
            self.bytes += size
        future = self._executor.submit(job.run)

        def release(ended: Future[Result]) -> None:
            with self._lock:
                self.bytes -= size

        future.add_done_callback(release)
        return future


POOL: Final = BlockingPool()


async def run(size: int, work: Callable[[], Result], deadline: float | None = None) -> Result:
    """The work's result: at once if it is about INLINE_BYTES or less, else by a thread, as `BlockingPool.run`."""
    return work() if size <= INLINE_BYTES else await POOL.run(size, work, deadline)
