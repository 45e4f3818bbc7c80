"""Usage in Valkey or Redis: a hash for each day and key, written and read in small pieces over connections of its own.

The server works on one command at a time, so a large one would hold up the taking of limits. No command here touches
more than some hundred fields, and none shares a connection or a time limit with the counters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from gateway.access.counters import UsageBatch, UsageTotals
from gateway.access.valkey_client import PREFIX, ValkeyClient, script

CALL_SECONDS = 5.0
"""Seconds that one reading or writing call may take. Nobody's request waits for it."""

READ_CONNECTIONS = 2

SCAN_FIELDS = 500
"""Fields of a hash that one call reads, roughly."""

DAYS_KEPT = 400
"""Days for which usage is kept."""

BATCH_SECONDS = 86_400
"""Seconds for which a batch is known to be written: one that is sent again within them is not added again."""

_SEPARATOR = "\x1f"
_FIELDS = UsageTotals.__struct_fields__


class ValkeyUsage:
    """Usage of all gateways that share the server and database. Args as in ValkeyClient."""

    def __init__(
        self, url: str, failed: Callable[[], None] = lambda: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._writer = ValkeyClient(url, CALL_SECONDS, 1, failed, clock)
        self._reader = ValkeyClient(url, CALL_SECONDS, READ_CONNECTIONS, failed, clock)
        self._add = self._writer.redis.register_script(script("add_usage"))

    async def add(self, batch: UsageBatch) -> None:
        keys = [f"{PREFIX}usage-batch:{batch.id}"]
        arguments: list[Any] = [BATCH_SECONDS, DAYS_KEPT * 86_400, len(_FIELDS), *_FIELDS]
        for (day, key, model), totals in batch.rows.items():
            keys += [_hash(day, key), _set(day)]
            arguments += [key, model, *(getattr(totals, name) for name in _FIELDS)]
        await self._writer.ask(lambda: self._add(keys=keys, args=arguments))

    async def keys(self, day: str) -> Collection[str]:
        names: Collection[str] = await self._reader.ask(lambda: self._reader.redis.smembers(_set(day)))
        return names

    async def totals(self, day: str, key: str) -> dict[str, UsageTotals]:
        models: dict[str, UsageTotals] = {}
        cursor, scan = 0, partial(self._reader.redis.hscan, _hash(day, key), count=SCAN_FIELDS)
        while True:
            cursor, fields = await self._reader.ask(partial(scan, cursor))
            for field, amount in fields.items():
                # A caller may have put anything into the model's name, the separator too.
                model, _, name = field.rpartition(_SEPARATOR)
                if name in _FIELDS:  # another version of the gateway may count more
                    setattr(models.setdefault(model, UsageTotals()), name, int(amount))
            if not cursor:
                return models

    async def aclose(self) -> None:
        """Wait for the calls under way, and close the connections."""
        await self._writer.aclose()
        await self._reader.aclose()


def _hash(day: str, key: str) -> str:
    """What one key used on one day: a field for each model and figure."""
    return f"{PREFIX}usage:{day}:{key}"


def _set(day: str) -> str:
    """The names of the keys that used anything on one day."""
    return f"{PREFIX}usage-keys:{day}"
