"""What a request asks of Valkey, as access and cache do it. A test counts it at a real server."""

from __future__ import annotations

from collections import Counter
from math import ceil

from msgspec import Struct

from gateway.access import valkey, valkey_usage
from gateway.access.usage import FLUSH_SECONDS
from gateway.cache import valkey as valkey_cache
from gateway.capacity.demand import Demand, LimitUnit

KINDS: dict[LimitUnit, str] = {
    "requests": "window",
    "documents": "window",
    "tokens": "window",
    "budget": "budget",
    "concurrency": "concurrency",
}
"""The kind of counter that each limit has."""

CORRECTED: frozenset[LimitUnit] = frozenset({"tokens", "budget", "concurrency"})
"""Limits whose reservation is corrected when a request is over. The others are exact from the start."""

RESERVE: dict[str, tuple[str, ...]] = {
    "window": ("hgetall", "hincrby", "expire"),
    "budget": ("get", "incrby", "expire"),
    "concurrency": ("zremrangebyscore", "zrangebyscore", "zcard", "zadd", "expire"),
}
SETTLE: dict[str, tuple[str, ...]] = {
    "window": ("hexists", "hincrby"),
    "budget": ("exists", "incrby"),
    "concurrency": ("zrem",),
}
"""Commands of the scripts, by the kind of counter."""

RESERVE_ONCE = ("time", "get")
SETTLE_ONCE = ("zscore", "zadd", "zremrangebyscore", "zadd", "expire", "expire", "get")
"""Commands of the scripts besides, at each call."""


class StoreCalls(Struct, frozen=True):
    """What gateways ask of the store.

    Attributes:
        reserves, settles: calls per request of the limits' two scripts.
        lookups: calls per request that ask the shared cache.
        commands: per request, by name, those within scripts included.
    """

    reserves: int
    settles: int
    lookups: int
    commands: Counter[str]

    @property
    def calls(self) -> int:
        """All of them. An answer waits for each but the settling, which costs CPU time all the same."""
        return self.reserves + self.settles + self.lookups


def of_request(demand: Demand) -> StoreCalls:
    """The calls of one request on average. Usage is not in them: see `usage_calls`."""
    corrected = [unit for unit in demand.limits if unit in CORRECTED]
    reserves, settles = int(bool(demand.limits)), int(bool(corrected))
    lookups = ceil(demand.documents / valkey_cache.KEYS_PER_CALL) if demand.cache == "shared" else 0
    commands = Counter(evalsha=reserves + settles, mget=lookups)
    commands.update(RESERVE_ONCE * reserves + SETTLE_ONCE * settles)
    for unit in demand.limits:
        commands.update(RESERVE[KINDS[unit]])
    for unit in corrected:
        commands.update(SETTLE[KINDS[unit]])
    return StoreCalls(reserves, settles, lookups, +commands)


def kept_scores(demand: Demand) -> float:
    """Scores that a request leaves in the shared cache on average, each by a `SET`; nobody waits for them."""
    return demand.documents * (1 - demand.cached) if demand.cache == "shared" else 0.0


def usage_calls(workers: int) -> float:
    """Calls per second that write the usage of keys, up to a hundred rows each."""
    return workers / FLUSH_SECONDS


def max_connections(demand: Demand) -> int:
    """Connections that one worker opens to the store at most."""
    if not demand.needs_store:
        return 0
    usage = 1 + valkey_usage.READ_CONNECTIONS
    cache = valkey_cache.CONNECTIONS if demand.cache == "shared" else 0
    return valkey.CONNECTIONS + usage + cache
