"""How many hosts or replicas a rate needs, and how they do: by their utilisation, and by simulation."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from gateway.capacity import figures
from gateway.capacity.simulation import Balance, Delays, Queue, Service, simulate
from gateway.errors import ConfigError, Problem

MAX_UNITS = 1 << 24
"""More hosts than anybody has."""

ROUNDING = 1e-9
"""Of a utilisation: less is no reason for another host."""


class Work(Struct, frozen=True):
    """What a pool has to do.

    Attributes:
        rate: requests per second.
        service: of one request, by one server.
        servers_per_unit: workers of a host; 1 for replicas.
        burst, balance: as in Queue.
    """

    rate: float
    service: Service
    servers_per_unit: int = 1
    burst: float = 1.0
    balance: Balance = "random"

    def queue(self, units: int) -> Queue:
        """The queue before so many hosts or replicas."""
        return Queue(self.rate, units * self.servers_per_unit, self.service, self.burst, self.balance)


class State(Struct, frozen=True):
    """How a pool does. `delays` is None where it is overloaded."""

    units: int
    utilisation: float
    delays: Delays | None


class Pool(Struct, frozen=True):
    """A pool as planned, and after the loss of one of its hosts or replicas; None if none is left then."""

    planned: State
    one_lost: State | None

    @property
    def units(self) -> int:
        """Hosts or replicas."""
        return self.planned.units


def size(work: Work, utilisation: float, spare: int, goal: float | None) -> Pool:
    """The smallest pool that keeps to both bounds, and the spare ones besides.

    Args:
        work: what it has to do.
        utilisation: the share of the time in which a server may be busy.
        spare: how many may be lost without breaking a bound.
        goal: seconds that a request may take at the 99th percentile, or None. What servers lose while they are idle for
            long is not held against it: more of them would only be idle for longer.

    Raises:
        ConfigError: no number of them reaches the goal.
    """
    units = _by_utilisation(work, utilisation)
    if goal is not None:
        units = _by_goal(replace(work, service=replace(work.service, cold_seconds=0.0)), units, goal)
    units += spare
    one_lost = _state(work, units - 1) if units > 1 else None
    return Pool(_state(work, units), one_lost)


def _by_utilisation(work: Work, utilisation: float) -> int:
    numbers = range(1, MAX_UNITS + 1)
    place = bisect_left(numbers, True, key=lambda units: work.queue(units).utilisation <= utilisation + ROUNDING)
    if place == len(numbers):
        told = f"takes more than {MAX_UNITS:,} hosts or replicas; look for a figure that is too large or too small"
        raise ConfigError([Problem("rate", told)])
    return numbers[place]


def _by_goal(work: Work, least: int, goal: float) -> int:
    """The smallest number, from `least` on, with which the 99th percentile is within the goal."""
    alone = simulate(Queue(1e-9, 1, work.service))
    shortest = alone.p99 if alone else 0.0
    units = None
    if shortest <= goal:
        units = _first(least, lambda count: (delays := simulate(work.queue(count))) is not None and delays.p99 <= goal)
    if units is None:
        raise ConfigError([Problem("p99", f"cannot be kept{_why(shortest, goal)}")])
    return units


def _why(shortest: float, goal: float) -> str:
    """Why a goal cannot be kept: a request takes longer by itself, or always waits for too long."""
    if shortest <= goal:
        return f" by {MAX_UNITS:,} hosts or replicas; look for a figure that is too large or too small"
    passing, left = figures.duration(shortest), f"{figures.duration(goal)} are"
    if goal <= 0:
        left = "nothing is"
    elif left.startswith(passing):
        left = "a little less is"
    return f": {passing} pass where nobody waits, and {left} left for it"


def _first(least: int, is_enough: Callable[[int], bool]) -> int | None:
    """The smallest number that is enough, by doubling and halving; None if no number up to MAX_UNITS is."""
    if is_enough(least):
        return least
    low, high = least, least * 2
    while not is_enough(high):
        if high > MAX_UNITS:
            return None
        low, high = high, high * 2
    while high - low > max(1, low // 200):  # a simulation is not sharper than half a percent
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def _state(work: Work, units: int) -> State:
    queue = work.queue(units)
    return State(units, queue.utilisation, simulate(queue))
