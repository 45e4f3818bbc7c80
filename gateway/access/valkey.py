"""Counters in Valkey or Redis, exact over processes and hosts: a reservation is one script, timed by the server.

Every call has a time limit. After a failure the server is not asked for PAUSE seconds, so that while it is down one
request waits for it and the others do not.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from itertools import count
from typing import Any, TypeVar
from uuid import uuid4

from msgspec import to_builtins
from msgspec.structs import replace
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway.access.counters import SLOTS, Charge, ReserveResult, Row, UsageTotals
from gateway.errors import StoreDown

logger = logging.getLogger(__name__)

PREFIX = "{rerank-gateway}:"
"""What every key begins with; the braces keep them on one node of a cluster, as a script needs."""

PAUSE = 1.0
"""Seconds for which a store that failed is not asked."""

DAYS_KEPT = 400
"""Days for which usage is kept."""

CONNECTIONS = 64

_SEPARATOR = "\x1f"

T = TypeVar("T")


class ValkeyStore:
    """Counters shared by all gateways that use the same server and database.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with user, password and database where needed.
        timeout: seconds that one call may take.
        fail_open: let requests through, uncounted, while the store is down; else they are refused.
        failed: called each time that the store could not be asked.
        clock: seconds.
    """

    def __init__(
        self,
        url: str,
        timeout: float,
        *,
        fail_open: bool,
        failed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 1),
            decode_responses=True,
        )
        self._redis: Any = Redis.from_pool(pool)  # its own annotations mix the sync and async clients
        self._reserve = self._redis.register_script(_script("reserve"))
        self._settle = self._redis.register_script(_script("settle"))
        self._timeout = timeout
        self._fail_open = fail_open
        self._failed = failed
        self._clock = clock
        self._paused_until = 0.0
        self._calls: set[asyncio.Task[Any]] = set()
        self._process = uuid4().hex
        self._numbers = count()

    async def reserve(self, charges: Sequence[Charge]) -> ReserveResult:
        call = self._start(self._run_reserve(charges))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            self._start(self._undo(call, charges))
            raise

    async def settle(self, charges: Sequence[Charge], reserved: ReserveResult) -> None:
        await asyncio.shield(self._start(self._run_settle(charges, reserved)))

    async def _run_reserve(self, charges: Sequence[Charge]) -> ReserveResult:
        holder_id = f"{self._process}:{next(self._numbers)}"  # two requests may carry the same request id, so not that
        arguments: list[Any] = [holder_id, SLOTS]
        for charge in charges:
            arguments += [charge.kind, charge.limit, charge.amount, _seconds(charge)]
        try:
            answer = await self._ask(lambda: self._reserve(keys=_keys(charges), args=arguments))
        except StoreDown:
            if self._fail_open:
                return ReserveResult()
            raise
        refused, wait, at, *left = answer
        return ReserveResult(refused, float(wait), left, float(at), holder_id)

    async def _undo(self, call: asyncio.Task[ReserveResult], charges: Sequence[Charge]) -> None:
        """Give back what a cancelled request has reserved: only the end of its call tells whether it did."""
        with suppress(StoreDown):
            reserved = await call
            if reserved.refused < 0 and reserved.left:
                await self._run_settle([replace(charge, amount=-charge.amount) for charge in charges], reserved)

    async def _run_settle(self, charges: Sequence[Charge], reserved: ReserveResult) -> None:
        arguments: list[Any] = [reserved.holder_id, SLOTS, reserved.at]
        for charge in charges:
            arguments += [charge.kind, charge.amount, _seconds(charge)]
        try:
            await self._ask(lambda: self._settle(keys=_keys(charges), args=arguments))
        except StoreDown:
            return  # On the safe side: the reservation counts as used, and its holder ends after `hold_seconds`.

    async def add(self, rows: Mapping[Row, UsageTotals]) -> None:
        pipeline = self._redis.pipeline(transaction=True)
        for (day, key, model), figures in rows.items():
            for name, amount in to_builtins(figures).items():
                pipeline.hincrby(_day(day), _SEPARATOR.join((key, model, name)), amount)
        for day in {row[0] for row in rows}:
            pipeline.expire(_day(day), DAYS_KEPT * 86_400)
        await self._ask(pipeline.execute)

    async def rows(self, days: Sequence[str]) -> dict[Row, UsageTotals]:
        pipeline = self._redis.pipeline(transaction=False)
        for day in days:
            pipeline.hgetall(_day(day))
        found: dict[Row, UsageTotals] = {}
        for day, fields in zip(days, await self._ask(pipeline.execute), strict=True):
            for field, amount in fields.items():
                # A caller may have put anything into the model's name, the separator too; not into the others.
                key, _, rest = field.partition(_SEPARATOR)
                model, _, name = rest.rpartition(_SEPARATOR)
                setattr(found.setdefault((day, key, model), UsageTotals()), name, int(amount))
        return found

    async def aclose(self) -> None:
        """Wait for the calls under way, and close the connections."""
        while self._calls:
            await asyncio.wait(self._calls)
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    def _start(self, call: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that no request's cancellation ends: nobody would know whether the server has counted."""
        task = asyncio.create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return task

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        if self._clock() < self._paused_until:
            self._failed()
            raise StoreDown("the store of limits and budgets cannot be reached", retry_after=PAUSE)
        try:
            async with asyncio.timeout(self._timeout):
                return await call()
        except (RedisError, OSError, TimeoutError) as error:
            self._failed()
            self._paused_until = self._clock() + PAUSE
            logger.warning("the store of limits and budgets cannot be reached: %s", type(error).__name__)
            raise StoreDown("the store of limits and budgets cannot be reached", retry_after=PAUSE) from None


def _keys(charges: Sequence[Charge]) -> list[str]:
    return [PREFIX + charge.key for charge in charges]


def _seconds(charge: Charge) -> float:
    """The one duration that a charge of its kind has."""
    return charge.window_seconds or charge.keep_seconds or charge.hold_seconds


def _day(day: str) -> str:
    return f"{PREFIX}usage:{day}"


def _script(name: str) -> str:
    return (files("gateway.access") / f"{name}.lua").read_text("utf-8")
