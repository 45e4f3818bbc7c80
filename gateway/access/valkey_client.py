"""A client of one Valkey or Redis server: bounded in connections and time, and left alone for a while when it is gone.

What counts as the server's failure is narrow. A connection that cannot be had, or a server that refuses everybody,
starts a pause, in which nobody waits for it. A call that takes too long fails alone: only when the server has answered
nobody for SILENCE_SECONDS is it taken for gone. Time in which our own event loop was too busy to look is not its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from importlib.resources import files
from typing import Any, TypeVar

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ClusterDownError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.errors import StoreDown

logger = logging.getLogger(__name__)

PREFIX = "{rerank-gateway}:"
"""What every key begins with; the braces keep them on one node of a cluster, as a script needs."""

PAUSE = 1.0
"""Seconds for which a store that is gone is not asked."""

SILENCE_SECONDS = 1.0
"""A store that has answered nobody for so long, while it was asked, is taken for gone."""

LATE_SECONDS = 2.0
"""Seconds for which an answer is awaited after its caller has left, so that what it took can be given back."""

SLICES = 25
"""A wait is counted in so many slices. One that our own loop ends late counts for its length only."""

_FAILS_EVERYBODY = (
    OSError,
    RedisConnectionError,  # the parent of what says that it is loading, wants other credentials, or has no room
    RedisTimeoutError,
    ReadOnlyError,
    ClusterDownError,  # of which a replica without its master is one
)

T = TypeVar("T")


class ValkeyClient:
    """One server, asked by several calls at a time.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with user, password and database where needed.
        timeout: seconds that one call may take, and before it the wait for one of the connections.
        connections: calls at a time.
        failed: called each time that the server could not be asked.
        clock: seconds.
        what: is kept there, for messages.

    Attributes:
        redis: the library's client, whose commands are to be given to `ask`.
    """

    def __init__(
        self,
        url: str,
        timeout: float,
        connections: int,
        failed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        what: str = "limits and budgets",
    ) -> None:
        self._what = what
        # The library's own time limits would blame the server for a stall of our loop, so it has none.
        self._pool = ConnectionPool.from_url(
            url,
            max_connections=connections,
            socket_timeout=None,
            socket_connect_timeout=None,
            retry=Retry(NoBackoff(), 1),
            decode_responses=True,
            encoding_errors="replace",
        )
        self.redis: Any = Redis.from_pool(self._pool)  # its own annotations mix the sync and async clients
        self._places = asyncio.Semaphore(connections)
        self._timeout = timeout
        self._failed = failed
        self._clock = clock
        self._calls: set[asyncio.Task[Any]] = set()
        self._paused_until = self._quiet_until = 0.0
        self._silent_since: float | None = None
        self._last_silence = 0.0

    async def ask(self, call: Callable[[], Awaitable[T]], late: Callable[[T], Awaitable[None]] | None = None) -> T:
        """The answer to one call. Raises StoreDown.

        Once sent, a call goes on when its caller is cancelled or its time is over: only its end tells what it did.

        Args:
            call: asks the server.
            late: is given an answer that came when nobody waited for it any more.
        """
        if self._clock() < self._paused_until:
            self._failed()
            raise _down()
        await self._take_place()
        began = self._clock()
        task = self.start(self._send(call))
        try:
            ended = await ends_within(task, self._timeout)
        except asyncio.CancelledError:
            self.start(self._await_late(task, late))
            raise
        if not ended:
            self.start(self._await_late(task, late))
            self._note_silence(began)
            raise _down()
        return task.result()

    def start(self, call: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that no request's cancellation ends, and that `aclose` waits for."""
        task = asyncio.create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return task

    async def wait(self) -> None:
        """Wait for the calls under way. None lasts much longer than its time limit and LATE_SECONDS."""
        while self._calls:
            await asyncio.wait(self._calls)

    async def aclose(self) -> None:
        """Wait for the calls under way, and close the connections."""
        await self.wait()
        await self.redis.aclose()
        await self._pool.disconnect()

    async def _take_place(self) -> None:
        """Wait for one of the connections to be free. To find none is overload, unless nobody gets an answer."""
        if not self._places.locked():
            await self._places.acquire()
            return
        began = self._clock()
        waiting = asyncio.ensure_future(self._places.acquire())
        try:
            if not await ends_within(waiting, self._timeout):
                self._note_silence(began)
                raise _down()
        except BaseException:
            if not waiting.cancel():
                self._places.release()
            raise

    async def _send(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            answer = await self._leave_replica(call)
        except (RedisError, OSError) as error:
            self._note_failure(error)
            raise _down() from None
        finally:
            self._places.release()
        self._note_answer()
        return answer

    async def _leave_replica(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make the call; if the server has become a read-only replica, once more over a new connection.

        After a failover the name leads to the new primary, but old connections stay with the old one.
        """
        try:
            return await call()
        except ResponseError as error:
            if not _is_read_only(error):
                raise
        await self._pool.disconnect(inuse_connections=False)
        return await call()

    async def _await_late(self, task: asyncio.Task[T], late: Callable[[T], Awaitable[None]] | None) -> None:
        if not await ends_within(task, LATE_SECONDS):
            task.cancel()  # closes its connection
        with suppress(StoreDown, asyncio.CancelledError):
            answer = await task
            if late is not None:
                await late(answer)

    def _note_answer(self) -> None:
        self._silent_since = None
        self._paused_until = 0.0

    def _note_silence(self, began: float) -> None:
        """Note a call that got no answer, or no connection, in time; pause if nobody has got an answer for long."""
        self._report("no answer in time")
        if self._silent_since is None or began - self._last_silence > SILENCE_SECONDS + PAUSE:
            self._silent_since = began
        self._last_silence = self._clock()
        if self._last_silence - self._silent_since >= SILENCE_SECONDS:
            self._paused_until = self._last_silence + PAUSE

    def _note_failure(self, error: Exception) -> None:
        """Note an error; pause if it would be everybody's."""
        self._report(type(error).__name__)
        if isinstance(error, _FAILS_EVERYBODY) or _is_read_only(error):
            self._paused_until = self._clock() + PAUSE

    def _report(self, error: str) -> None:
        self._failed()
        now = self._clock()
        if now >= self._quiet_until:
            self._quiet_until = now + PAUSE
            logger.warning("the store of %s cannot be reached: %s", self._what, error)


async def ends_within(task: asyncio.Future[Any], seconds: float) -> bool:
    """Whether a task ended within so many seconds of a loop that was free to see it.

    A timer that our own loop was too busy to serve says nothing about the task: its answer may lie in the socket.
    """
    for _ in range(SLICES):
        await asyncio.wait((task,), timeout=seconds / SLICES)
        if task.done():
            return True
    return False


def _is_read_only(error: Exception) -> bool:
    """Whether the server is a replica that takes no writes. Redis before 7 says so within an error of the script."""
    return isinstance(error, ReadOnlyError) or (isinstance(error, ResponseError) and "-READONLY " in str(error))


def script(name: str) -> str:
    """The text of a script that runs in the server."""
    return (files("gateway.access") / f"{name}.lua").read_text("utf-8")


def _down() -> StoreDown:
    return StoreDown("the store of limits and budgets cannot be reached", retry_after=PAUSE)
