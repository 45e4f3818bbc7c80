"""A queue, event by event: requests arrive at random, wait for a server, and are served one at a time.

Servers are alike. Where each request goes to one of them at random (`random`), a server's own arrivals are random too
and owe nothing to the other servers, so one server is simulated and stands for all of them, however many there are.
Where each goes to the server that is free first (`least_busy`), all share one line: M/G/k.
Source: https://en.wikipedia.org/wiki/Poisson_point_process (thinning), Kendall's notation for the rest.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from functools import partial
from math import exp, log
from typing import Literal

from msgspec import Struct

REQUESTS = 200_000
"""Requests of one simulation: 2,000 of them are slower than the 99th percentile."""

WARM_UP = 0.1
"""Share of the requests that are not looked at, since the line was empty before the first of them."""

MAX_LINE_SERVERS = 1000
"""Servers of one line that are simulated. More of them, as busy, let nobody wait longer."""

MIN_SPREAD = 1e-6
"""What varies less is taken to be constant; the gamma distribution's shape would be too large for a number."""

SEED = 21
"""Of the random numbers: the same question has the same answer."""

Balance = Literal["random", "least_busy"]


class Service(Struct, frozen=True):
    """How long a server works on a request.

    Attributes:
        seconds: on average.
        spread: standard deviation divided by the average: 0 where all take as long, 1 where they are exponential.
        wake_seconds: what a request takes besides that finds its server idle, which must be woken.
        cold_seconds: what it takes besides that where the server was idle for long: others have its caches by then.
        cool_seconds: how soon that is: a share of 1 - exp(-idle / cool_seconds) of it is due.
    """

    seconds: float
    spread: float = 0.0
    wake_seconds: float = 0.0
    cold_seconds: float = 0.0
    cool_seconds: float = 1.0

    def wake_after(self, idle: float) -> float:
        """Seconds that waking takes after so many idle ones."""
        return self.wake_seconds + self.cold_seconds * (1 - exp(-idle / self.cool_seconds))

    def mean_wake(self, idle: float) -> float:
        """The same on average, where the idle time varies exponentially around `idle`."""
        return self.wake_seconds + self.cold_seconds / (1 + self.cool_seconds / idle)


class Queue(Struct, frozen=True):
    """What is simulated.

    Attributes:
        rate: requests per second, of all servers together.
        servers: at least one.
        service: of each request.
        burst: requests that arrive at the same moment, on average; they go to different servers as others do.
        balance: how a request gets to a server.
    """

    rate: float
    servers: int
    service: Service
    burst: float = 1.0
    balance: Balance = "random"

    @property
    def utilisation(self) -> float:
        """The share of the time in which a server works; 1 or more where the line would grow without end.

        A share of 1 - utilisation of the bursts finds an idle server, and wakes it. Until the next burst it is idle for
        as long, on average, as lies between two bursts, for their moments owe nothing to each other.
        """
        rate, seconds = self.rate / self.servers, self.service.seconds
        if rate * seconds >= 1:
            return rate * seconds
        bursts = rate / self.burst_of_a_server
        waking = bursts * self.service.mean_wake(1 / bursts)
        return (rate * seconds + waking) / (1 + waking)

    @property
    def burst_of_a_server(self) -> float:
        """Its size on average where requests go to servers at random: every server gets its share of each burst, which
        is again of a geometric size, but smaller."""
        return 1 + (self.burst - 1) / self.servers


class Delays(Struct, frozen=True):
    """What requests met, in seconds: waiting alone, and waiting with service."""

    mean_wait: float
    wait_p50: float
    wait_p99: float
    mean: float
    p50: float
    p99: float


def simulate(queue: Queue, requests: int = REQUESTS, seed: int = SEED) -> Delays | None:
    """The delays of a queue that has run for long; None if it is overloaded, so that they would grow without end."""
    if queue.utilisation >= 1:
        return None
    choose = random.Random(seed)
    run = _one_server if queue.balance == "random" else _line
    pairs = run(queue, choose, requests)
    seen = [pair for number, pair in enumerate(pairs) if number >= requests * WARM_UP]
    waits = sorted(wait for wait, _ in seen)
    totals = sorted(wait + service for wait, service in seen)
    return Delays(*_summary(waits), *_summary(totals))


def _summary(values: list[float]) -> tuple[float, float, float]:
    """Average, median and 99th percentile of sorted values."""
    return sum(values) / len(values), values[len(values) // 2], values[int(len(values) * 0.99)]


def _one_server(queue: Queue, choose: random.Random, requests: int) -> Iterator[tuple[float, float]]:
    """Waiting and service of each request at one of the servers: Lindley's recursion."""
    gap_to_next = _gaps(queue.rate / queue.servers, queue.burst_of_a_server, choose)
    work, wake_after = _services(queue.service, choose), queue.service.wake_after
    backlog = 0.0
    for _ in range(requests):
        gap = gap_to_next()
        wait = backlog - gap if backlog > gap else 0.0
        service = work() if wait or not gap else work() + wake_after(gap - backlog)
        yield wait, service
        backlog = wait + service


def _line(queue: Queue, choose: random.Random, requests: int) -> Iterator[tuple[float, float]]:
    """Waiting and service of each request in one line before all servers."""
    servers = min(queue.servers, MAX_LINE_SERVERS)
    # A part of the servers gets that part of the requests, and of each burst.
    share = servers / queue.servers
    gap_to_next = _gaps(queue.rate * share, 1 + (queue.burst - 1) * share, choose)
    work, wake_after = _services(queue.service, choose), queue.service.wake_after
    free_at = [0.0] * servers
    now = 0.0
    for _ in range(requests):
        now += gap_to_next()
        start = max(now, free_at[0])
        service = work() + (wake_after(start - free_at[0]) if start > free_at[0] else 0.0)
        heapq.heapreplace(free_at, start + service)
        yield start - now, service


def _gaps(rate: float, burst: float, choose: random.Random) -> Callable[[], float]:
    """Seconds to the next request: 0 within a burst, else exponential."""
    if burst == 1:
        return partial(choose.expovariate, rate)
    goes_on = 1 - 1 / burst
    return lambda: 0.0 if choose.random() < goes_on else choose.expovariate(rate / burst)


def _services(service: Service, choose: random.Random) -> Callable[[], float]:
    """Seconds of one service, by the gamma distribution, which has any spread and no negative values."""
    mean, spread = service.seconds, service.spread
    if spread < MIN_SPREAD:
        return lambda: mean
    if spread == 1:
        return lambda: -mean * log(1.0 - choose.random())
    return partial(choose.gammavariate, spread**-2, mean * spread**2)
