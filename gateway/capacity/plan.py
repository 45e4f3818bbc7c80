"""From a demand and the costs to a plan: hosts, replicas, connections, calls of the store, bandwidth, money."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, sqrt

from msgspec import Struct

from gateway.capacity import assumptions, figures, money, pools, refusals, store_calls
from gateway.capacity.costs import Costs
from gateway.capacity.demand import Demand
from gateway.capacity.money import Money
from gateway.capacity.pools import Pool, Work
from gateway.capacity.simulation import Service
from gateway.errors import ConfigError, Problem
from gateway.suggestions import did_you_mean

HEAD_BYTES = 400
"""Of a request or an answer: HTTP's head, and what a body holds besides documents or results."""

DOCUMENT_SYNTAX_BYTES = 4
"""Quotes, comma and blank around a document."""

RESULT_BYTES = 47
"""Of one document in an answer: its index, and a score of 16 digits."""

MAX_STORE_BUSY = 0.6
"""A server works on one command at a time, so calls wait for each other."""

DEVIATIONS = 3
"""Calls under way vary by chance; so many standard deviations above the average are planned for."""


class Store(Struct, frozen=True):
    """What Valkey has to do.

    Attributes:
        calls: per second: what travels, scripts and pipelines as one each.
        commands: per second, those within scripts and pipelines as well.
        connections: at most.
        busy: share of a core of the server that the calls keep busy; it uses one.
    """

    calls: float
    commands: float
    connections: int
    busy: float


class Connections(Struct, frozen=True):
    """Connections under way at the peak: from callers, and to the upstream or the replicas."""

    callers: int
    upstream: int


class Bandwidth(Struct, frozen=True):
    """Megabits per second at the peak: between callers and gateways, and between gateways and what is behind them."""

    callers_in: float
    callers_out: float
    upstream_out: float
    upstream_in: float


class Plan(Struct, frozen=True):
    """What a demand takes.

    Attributes:
        cpu_us: CPU time of a gateway for one request, at the planned utilisation.
        gateways: hosts.
        replicas: of the engine; None where there is none.
        store: None where none is needed.
        assumptions: all that the figures rest on, as sentences.
        warnings: what the plan cannot hold.
    """

    cpu_us: float
    gateways: Pool
    replicas: Pool | None
    connections: Connections
    store: Store | None
    bandwidth: Bandwidth
    money: Money
    assumptions: list[str]
    warnings: list[str]


def make(demand: Demand, costs: Costs) -> Plan:
    """The plan. Takes seconds where a goal is to be met. Raises ConfigError for a demand that nothing can meet."""
    goal = None if demand.has_engine else demand.p99
    gateways = pools.size(gateway_work(demand, costs), demand.utilisation, demand.spare, goal)
    replicas = _replicas(demand, costs, gateways) if demand.has_engine else None
    store = _store(demand, costs, gateways.units * demand.cores) if demand.needs_store else None
    return Plan(
        cpu_us=gateways.planned.utilisation * gateways.units * demand.cores / demand.rate * 1e6,
        gateways=gateways,
        replicas=replicas,
        connections=_connections(demand, gateways, replicas),
        store=store,
        bandwidth=bandwidth(demand),
        money=money.of(demand, gateways.units, replicas.units if replicas else 0),
        assumptions=assumptions.of(demand, costs),
        warnings=[
            *refusals.warnings(demand, body_bytes(demand)),
            *_warnings(gateways, replicas, store),
            *_cold(gateways, goal),
        ],
    )


def body_bytes(demand: Demand) -> int:
    """Of a request, on average."""
    return demand.documents * (demand.document_bytes + DOCUMENT_SYNTAX_BYTES) + demand.query_bytes


def gateway_work(demand: Demand, costs: Costs) -> Work:
    """What gateways do: CPU time of workers, each on a core."""
    calls = store_calls.of_request(demand).calls + (1 if store_calls.kept_scores(demand) else 0)
    document_us = {"none": 0.0, "memory": costs.memory_document_us, "shared": costs.shared_document_us}[demand.cache]
    fixed = costs.request_us + calls * costs.store_call_us
    by_size = costs.byte_ns * body_bytes(demand) / 1000 + document_us * demand.documents
    total = fixed + by_size
    service = Service(
        seconds=total / 1e6,
        spread=demand.spread * by_size / total,
        wake_seconds=costs.wake_us / 1e6,
        cold_seconds=costs.cold_us / 1e6,
        cool_seconds=costs.cool_us / 1e6,
    )
    return Work(demand.rate, service, demand.cores, demand.burst)


def engine_work(demand: Demand, costs: Costs) -> Work:
    """What replicas do. Raises ConfigError for an engine that was not measured."""
    speed = demand.documents_per_second or _measured_speed(demand, costs)
    service = Service(demand.documents / speed, demand.spread)
    # Where the cache answers all, nothing is left to do, but a queue needs a rate.
    rate = max(demand.rate * (1 - demand.cached), 1e-9)
    return Work(rate, service, burst=demand.burst, balance=demand.balance)


def _measured_speed(demand: Demand, costs: Costs) -> float:
    name = demand.engine or ""
    if name not in costs.engines:
        hint = did_you_mean(name, list(costs.engines)) or f"; measured are {', '.join(costs.engines)}"
        raise ConfigError([Problem("engine", f"was not measured{hint}; give documents_per_second as you measure it")])
    return costs.engines[name] * demand.replica_cores


def _replicas(demand: Demand, costs: Costs, gateways: Pool) -> Pool:
    """Replicas of the engine; where there is a goal, they have what the gateways leave of it."""
    goal = None
    if demand.p99 is not None:
        delays = (gateways.one_lost or gateways.planned).delays or gateways.planned.delays
        goal = max(0.0, demand.p99 - (delays.p99 if delays else 0.0))
    return pools.size(engine_work(demand, costs), demand.utilisation, demand.spare, goal)


def _store(demand: Demand, costs: Costs, workers: int) -> Store:
    request, kept = store_calls.of_request(demand), store_calls.kept_scores(demand)
    usage = store_calls.usage_calls(workers)
    keeping = 1 - demand.cached if kept else 0.0  # pipelines
    calls = demand.rate * (request.calls + keeping) + usage
    commands = demand.rate * (request.commands.total() + kept) + usage
    connections = workers * store_calls.max_connections(demand)
    return Store(calls, commands, connections, calls * costs.valkey_call_us / 1e6)


def _connections(demand: Demand, gateways: Pool, replicas: Pool | None) -> Connections:
    behind = _mean(replicas) if replicas else demand.latency
    calls = demand.rate * (1 - demand.cached) * behind
    callers = _at_most(calls + demand.rate * _mean(gateways), demand.burst)
    return Connections(callers, _at_most(calls, 1 + (demand.burst - 1) * (1 - demand.cached)))


def _mean(pool: Pool) -> float:
    """Seconds that a request spends there on average: by Little's law, times the rate, how many are there."""
    delays = pool.planned.delays
    return delays.mean if delays else 0.0


def _at_most(average: float, burst: float) -> int:
    """Of calls that begin in bursts of a geometric size, whose variance is 2 * burst - 1 times their average.

    One burst at least: where they are rare, an average says nothing of it.
    """
    if not average:
        return 0
    return ceil(max(average + DEVIATIONS * sqrt(average * (2 * burst - 1)), burst))


def bandwidth(demand: Demand) -> Bandwidth:
    """What travels at the peak."""
    request, answer = body_bytes(demand) + HEAD_BYTES, demand.documents * RESULT_BYTES + HEAD_BYTES
    callers, upstream = demand.rate * 8 / 1e6, demand.rate * (1 - demand.cached) * 8 / 1e6
    return Bandwidth(callers * request, callers * answer, upstream * request, upstream * answer)


def _cold(gateways: Pool, goal: float | None) -> Iterator[str]:
    """Where the goal is kept but for what workers lose while they sleep."""
    delays = gateways.planned.delays
    if goal is not None and delays is not None and delays.p99 > goal:
        yield (
            f"at the 99th percentile requests spend {figures.duration(delays.p99)}, for workers have so little to do "
            "that they get cold between two requests; fewer hosts, or fewer cores, are quicker"
        )


def _warnings(gateways: Pool, replicas: Pool | None, store: Store | None) -> list[str]:
    found = []
    for name, pool in (("gateway hosts", gateways), ("replicas", replicas)):
        if pool and (pool.one_lost is None or pool.one_lost.delays is None):
            found.append(f"the {name} do not survive the loss of one: plan with a `spare` of 1 or more")
    if store and store.busy > MAX_STORE_BUSY:
        found.append(
            f"one Valkey server is busy for {store.busy:,.0%} of a core, and all our keys are on one node of a "
            "cluster: give groups of gateways a server each, with their share of the limits, or fewer limits"
        )
    return found
