"""From the configuration to what is counted: the store, the ledger of usage, the keys and their limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

from gateway.access.counters import Store, UsageStore
from gateway.access.keys import KeyTable
from gateway.access.limits import Limit, key_limits, limits_of
from gateway.access.memory import MemoryStore
from gateway.access.memory_usage import MemoryUsage
from gateway.access.meter import Meter
from gateway.access.usage import UsageLedger
from gateway.config.root import Config
from gateway.routing.pricing import TargetPricing

LAST_FLUSH_SECONDS = 5.0
"""Seconds that a stopping gateway takes for writing the usage that is left."""


class UsageAccounts:
    """The stores and the ledger of a running gateway. They outlive a change of the configuration.

    Args:
        config: names the store.
        failed: called each time that the store could not be asked.
    """

    def __init__(self, config: Config, failed: Callable[[], None] = lambda: None) -> None:
        self.store, self._usage = open_stores(config, failed)
        self.ledger = UsageLedger(self._usage)
        self._flushing: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to write usage to the store regularly. Needs the running event loop."""
        self._flushing = asyncio.create_task(self.ledger.run())

    async def aclose(self) -> None:
        """Write and settle what is left, both at once, and close the stores."""
        await asyncio.gather(self._close_usage(), self.store.aclose())

    async def _close_usage(self) -> None:
        if self._flushing:
            self._flushing.cancel()
            with suppress(asyncio.CancelledError):
                await self._flushing
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_FLUSH_SECONDS):
                await self.ledger.flush()
        await self._usage.aclose()


def open_stores(config: Config, failed: Callable[[], None]) -> tuple[Store, UsageStore]:
    """Where the configuration counts limits, and where usage; nothing is contacted yet.

    `failed` counts when a store cannot be asked.
    """
    if config.store is None:
        return MemoryStore(), MemoryUsage()
    from gateway.access.valkey import ValkeyStore  # takes a while to import, and most need no store
    from gateway.access.valkey_usage import ValkeyUsage

    url, fail_open = config.store.url.get_secret_value(), config.store.when_down == "fail_open"
    limits = ValkeyStore(url, config.store.timeout, fail_open=fail_open, failed=failed)
    return limits, ValkeyUsage(url, failed)


def build_key_table(config: Config) -> KeyTable | None:
    """The keys of a configuration; None where it asks for none."""
    return KeyTable(config.auth.keys) if config.auth and config.auth.keys else None


def build_meter(config: Config, accounts: UsageAccounts, pricing: TargetPricing) -> Meter | None:
    """The meter of a configuration; None where nothing is counted, so that requests cost nothing extra."""
    limits = _limits(config)
    has_keys = build_key_table(config) is not None
    if not limits and not has_keys:
        return None
    return Meter(accounts.store, accounts.ledger if has_keys else None, limits, pricing.prices, config.models)


def multi_worker_warning(config: Config) -> str | None:
    """A warning for operators whose workers count separately; None where they do not."""
    workers = config.server.workers
    models = config.rate_limits.models if config.rate_limits else {}
    if workers == 1 or config.store or not (models or _limits(config) or build_key_table(config)):
        return None
    return (
        f"each of the {workers} workers counts separately, so callers may use up to {workers} times their limits and "
        "budgets, and /v1/usage shows one worker only; configure `store` to count together"
    )


def _limits(config: Config) -> Mapping[str, tuple[Limit, ...]]:
    """The limits by the name of the key; "" is for callers without one."""
    everybody = limits_of("the gateway", config.rate_limits)
    limits_by_key = {"": everybody}
    for key in config.auth.keys if config.auth else ():
        limits_by_key[key.name] = key_limits(key.name, key.limits, key.budget) + everybody
    return {name: limits for name, limits in limits_by_key.items() if limits}
