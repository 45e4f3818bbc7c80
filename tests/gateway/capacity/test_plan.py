"""Plans against figures that are worked out by hand, and how they change with what is asked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.capacity import plan as plans
from gateway.capacity import pools
from gateway.capacity.costs import Costs
from gateway.capacity.demand import Demand
from gateway.capacity.plan import Plan
from gateway.capacity.pools import Work, size
from gateway.capacity.simulation import Service
from gateway.errors import ConfigError

COSTS = Costs(
    request_us=100,
    byte_ns=2,
    wake_us=0,
    cold_us=0,
    cool_us=10_000,
    store_call_us=50,
    valkey_call_us=10,
    memory_document_us=0.4,
    shared_document_us=5,
    engines={"small": 40.0},
)
"""Round figures: a request of 50 documents with 996 bytes, and no query to speak of, costs 200 µs."""
SHAPE: dict[str, Any] = {"documents": 50, "document_bytes": 996, "query_bytes": 1, "spread": 0}
ALMOST = 0.9999
"""Of a round rate: the query's one byte counts too."""


def made(**demand: Any) -> Plan:
    return plans.make(Demand(**{"rate": 1000, **SHAPE, **demand}), COSTS)


HOSTS: dict[str, tuple[dict[str, Any], int]] = {
    "one core is enough": ({"rate": 2500 * ALMOST, "cores": 1, "utilisation": 0.5, "spare": 0}, 1),
    "one request more": ({"rate": 2500 * 1.001, "cores": 1, "utilisation": 0.5, "spare": 0}, 2),
    "one may be lost": ({"rate": 2500 * ALMOST, "cores": 1, "utilisation": 0.5, "spare": 1}, 2),
    "cores share the work": ({"rate": 20_000 * ALMOST, "cores": 8, "utilisation": 0.5, "spare": 0}, 1),
    "one call of the store costs a quarter more": (
        {"rate": 20_000 * ALMOST, "cores": 8, "utilisation": 0.5, "spare": 0, "limits": ("requests",)},
        2,
    ),
    "two calls of the store": (
        {"rate": 100_000 * ALMOST, "cores": 8, "utilisation": 0.5, "spare": 0, "limits": ("budget",)},
        8,
    ),
    "the memory cache": ({"rate": 100_000 * ALMOST, "cores": 1, "utilisation": 0.5, "spare": 0, "cache": "memory"}, 44),
    "a million a second": ({"rate": 1_000_000 * ALMOST, "cores": 8, "utilisation": 0.5, "spare": 1}, 51),
    "hardly anything": ({"rate": 0.001, "spare": 0}, 1),
}


@pytest.mark.parametrize(("demand", "hosts"), HOSTS.values(), ids=HOSTS)
def test_hosts_by_utilisation(demand: dict[str, Any], hosts: int) -> None:
    assert made(**demand).gateways.units == hosts


def test_waking_is_paid_where_workers_are_idle() -> None:
    costs = msgspec.structs.replace(COSTS, wake_us=100)
    idle = plans.make(Demand(rate=1, **SHAPE), costs)
    busy = plans.make(Demand(rate=15_000, cores=4, utilisation=0.9, spare=0, **SHAPE), costs)
    assert idle.cpu_us == pytest.approx(300, rel=0.01)
    assert busy.cpu_us == pytest.approx(200 + 100 * (1 - busy.gateways.planned.utilisation), rel=0.01)


COLD: dict[str, tuple[float, float]] = {
    "a request now and then": (1, 300),
    "one in the time in which caches are lost": (100, 250),
    "forty in that time": (4000, 200),
}
"""By requests per second: what one costs a worker that takes 200 µs for it, and up to 100 more."""


@pytest.mark.parametrize(("rate", "cost"), COLD.values(), ids=COLD)
def test_a_worker_that_sleeps_for_long_is_dearer(rate: float, cost: float) -> None:
    costs = msgspec.structs.replace(COSTS, cold_us=100)
    plan = plans.make(Demand(rate=rate, cores=1, utilisation=0.9, spare=0, **SHAPE), costs)
    assert plan.gateways.units == 1
    assert plan.cpu_us == pytest.approx(cost, rel=0.01)


def test_workers_that_get_cold_do_not_make_a_goal_impossible() -> None:
    """With fewer requests each would only be colder, so what they lose is told, and not planned against."""
    costs = msgspec.structs.replace(COSTS, cold_us=600)
    demand: dict[str, Any] = {"rate": 30_000, "cores": 2, "utilisation": 0.95, **SHAPE}
    warm, cold = (plans.make(Demand(**demand, p99=0.001), each) for each in (COSTS, costs))
    assert warm.gateways.units <= cold.gateways.units <= warm.gateways.units + 1
    assert warm.warnings == []
    idle = plans.make(Demand(**{**demand, "rate": 10}, p99=0.0005), costs)
    (warning,) = idle.warnings
    assert "get cold between two requests" in warning


REPLICAS: dict[str, tuple[dict[str, Any], int]] = {
    "as fast as was measured": ({"documents_per_second": 500, "rate": 5, "utilisation": 0.5, "spare": 0}, 1),
    "one request more": ({"documents_per_second": 500, "rate": 5.1, "utilisation": 0.5, "spare": 0}, 2),
    "a spare one": ({"documents_per_second": 500, "rate": 5, "utilisation": 0.5, "spare": 1}, 2),
    "half is cached": (
        {"documents_per_second": 500, "rate": 10, "utilisation": 0.5, "spare": 0, "cache": "memory", "cached": 0.5},
        1,
    ),
    "all is cached": (
        {"documents_per_second": 500, "rate": 10, "utilisation": 0.5, "spare": 0, "cache": "memory", "cached": 1},
        1,
    ),
    "from our table, by cores": ({"engine": "small", "replica_cores": 5, "rate": 4, "utilisation": 0.5, "spare": 0}, 2),
}


@pytest.mark.parametrize(("demand", "replicas"), REPLICAS.values(), ids=REPLICAS)
def test_replicas_by_utilisation(demand: dict[str, Any], replicas: int) -> None:
    found = made(**demand).replicas
    assert found is not None
    assert found.units == replicas


GOALS: dict[str, dict[str, Any]] = {
    "gateways": {"rate": 30_000, "cores": 2, "utilisation": 0.95, "p99": 0.001},
    "gateways in bursts": {"rate": 10_000, "cores": 2, "utilisation": 0.9, "p99": 0.002, "burst": 30},
    "replicas": {"rate": 10, "documents_per_second": 500, "utilisation": 0.9, "p99": 0.3},
    "replicas of one line": {
        "rate": 10,
        "documents_per_second": 500,
        "utilisation": 0.95,
        "p99": 0.25,
        "balance": "least_busy",
    },
}


@pytest.mark.parametrize("demand", GOALS.values(), ids=GOALS)
def test_a_goal_is_kept_without_the_spare_one(demand: dict[str, Any]) -> None:
    plan, without_goal = made(**demand, spare=1), made(**{**demand, "p99": None})
    pool, least = plan.replicas or plan.gateways, without_goal.replicas or without_goal.gateways
    assert least.one_lost is not None
    assert least.one_lost.delays is None or least.one_lost.delays.p99 > demand["p99"]
    assert pool.units > least.units
    assert pool.one_lost is not None
    assert pool.one_lost.delays is not None
    assert pool.one_lost.delays.p99 <= demand["p99"]


@pytest.mark.parametrize("spread", [0, 1e-320, 1e-200, 1e-7, 1e-5])
def test_sizes_that_hardly_differ_are_as_those_that_do_not(spread: float) -> None:
    same, nearly = (made(spread=each).gateways.planned.delays for each in (0, spread))
    assert same is not None
    assert nearly is not None
    assert nearly.p99 == pytest.approx(same.p99, rel=0.25)


def test_a_goal_takes_no_more_than_it_needs() -> None:
    work = Work(10, Service(0.1, 0.5))
    pool = size(work, 0.9, 0, 0.3)
    fewer = pools.simulate(work.queue(pool.units - 1))
    assert fewer is None or fewer.p99 > 0.3


NEVER_TOO_LONG: dict[str, dict[str, Any]] = {
    "at random": {"balance": "random"},
    "in one line": {"balance": "least_busy"},
    "in one line that is simulated in part": {"balance": "least_busy", "rate": 50_000},
}


@pytest.mark.parametrize("demand", NEVER_TOO_LONG.values(), ids=NEVER_TOO_LONG)
@pytest.mark.parametrize("slack", [1.0001, 1.01, 1.5])
def test_a_search_for_a_goal_ends_whatever_the_bursts(demand: dict[str, Any], slack: float) -> None:
    """A goal just above the work itself may be out of reach by chance; then that is told."""
    service = 50 / 1000
    goal = slack * (service + made().gateways.planned.delays.p99)  # type: ignore[union-attr]
    problem, replicas = "", None
    try:
        replicas = made(**{"documents_per_second": 1000, "burst": 100_000, "p99": goal, **demand}).replicas
    except ConfigError as error:
        problem = str(error)
    if replicas is None:
        assert "p99: cannot be kept" in problem
    else:
        assert replicas.planned.delays is not None
        assert replicas.planned.delays.p99 <= goal


def test_more_traffic_never_takes_less() -> None:
    plans = [made(rate=rate, p99=0.002, cores=2) for rate in (100, 1000, 10_000, 50_000, 200_000)]
    hosts = [plan.gateways.units for plan in plans]
    assert hosts == sorted(hosts)


def test_without_a_spare_one_the_loss_of_a_host_is_warned_of() -> None:
    assert "do not survive the loss of one" in made(spare=0).warnings[0]
    assert made(spare=1).warnings == []


def test_a_store_that_cannot_keep_up_is_warned_of() -> None:
    plan = made(rate=100_000, limits=("requests", "concurrency"))
    assert plan.store is not None
    assert plan.store.busy == pytest.approx(100_000 * 2 * 10e-6, rel=0.01)
    assert any("one Valkey server" in sentence for sentence in plan.warnings)


def test_calls_of_the_store() -> None:
    plan = made(rate=1000, cores=1, utilisation=0.5, limits=("requests", "concurrency"), cache="shared", cached=0.5)
    assert plan.store is not None
    workers = plan.gateways.units
    # reserve, settle, look up, and keep for every second request; usage each second
    assert plan.store.calls == pytest.approx(1000 * 3.5 + workers)
    # evalsha twice; time, get, 3 of the window and 5 of concurrency; 7 and 1 to settle; mget; 25 scores kept on average
    assert plan.store.commands == pytest.approx(1000 * (2 + 2 + 3 + 5 + 7 + 1 + 1 + 25) + workers)
    assert plan.store.connections == workers * 83
    assert made().store is None


def test_connections_are_those_of_calls_under_way() -> None:
    """By Little's law 100 on average, and three standard deviations."""
    connections = made(rate=1000, latency=0.1).connections
    assert connections.upstream == 130
    assert 130 <= connections.callers <= 132
    assert made(rate=1000, latency=0.1, cache="memory", cached=1).connections.upstream == 0


BURSTS: dict[str, tuple[dict[str, Any], int, int]] = {
    "rare, and large": ({"rate": 100, "burst": 100_000}, 100_000, 100_000),
    "rare, and half of them cached": (
        {"rate": 100, "burst": 99_999, "cache": "memory", "cached": 0.5},
        50_000,
        99_999,
    ),
    "all of them cached": ({"rate": 100, "burst": 1000, "cache": "memory", "cached": 1}, 0, 1000),
    # 100 on average, and three times the root of 100 * 99
    "always one under way": ({"rate": 1000, "burst": 50}, 399, 399),
}
"""Connections to the upstream, and from callers at least."""


@pytest.mark.parametrize(("demand", "upstream", "callers"), BURSTS.values(), ids=BURSTS)
def test_a_whole_burst_is_connected(demand: dict[str, Any], upstream: int, callers: int) -> None:
    connections = made(latency=0.1, **demand).connections
    assert connections.upstream == upstream
    assert connections.callers >= callers


MIB = 1024 * 1024
REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "what every gateway takes": ({}, []),
    "as many documents as are taken": ({"documents": 10_000, "document_bytes": 10}, []),
    "one document more": ({"documents": 10_001, "document_bytes": 10}, ["request_limits.documents`, which is 10,000"]),
    "a document as large as is taken": ({"documents": 1, "document_bytes": 4 * MIB}, []),
    "one byte more": (
        {"documents": 1, "document_bytes": 4 * MIB + 1},
        ["request_limits.document_bytes`, which is 4,194"],
    ),
    "a body that is too large": (
        {"documents": 40, "document_bytes": MIB},
        ["bodies of 41,943,201 bytes are refused by default: raise `request_limits.body_bytes`"],
    ),
    "a body that is just taken": ({"documents": 31, "document_bytes": MIB}, []),
    "some bodies that are too large": (
        {"documents": 31, "document_bytes": MIB, "spread": 0.5},
        ["vary by 50%; the largest of them are refused by default"],
    ),
    "all of it": (
        {"documents": 100_000, "document_bytes": 100_000_000},
        ["request_limits.documents`", "request_limits.document_bytes`", "request_limits.body_bytes`"],
    ),
}


@pytest.mark.parametrize(("demand", "words"), REFUSED.values(), ids=REFUSED)
def test_what_a_gateway_refuses_by_default_is_told(demand: dict[str, Any], words: list[str]) -> None:
    found = made(**{"rate": 0.01, **demand}).warnings
    assert len(found) == len(words), found
    assert [each for each, sentence in zip(words, found, strict=True) if each not in sentence] == []


UNKEPT: dict[str, tuple[float, float, str]] = {
    "longer than is left": (0.2, 0.1, "200 ms pass where nobody waits, and 100 ms are left for it"),
    "nothing is left": (0.2, 0.0, "200 ms pass where nobody waits, and nothing is left for it"),
    "by less than is shown": (0.1004, 0.1001, "100 ms pass where nobody waits, and a little less is left for it"),
    "by hours": (7200.0, 3600.0, "7,200 s pass where nobody waits, and 3,600 s are left for it"),
}


@pytest.mark.parametrize(("seconds", "goal", "words"), UNKEPT.values(), ids=UNKEPT)
def test_why_a_goal_cannot_be_kept(seconds: float, goal: float, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        size(Work(0.0001, Service(seconds)), 0.9, 1, goal)
    assert words in str(caught.value)


def test_bandwidth() -> None:
    bandwidth = made(rate=1000, cache="memory", cached=0.5).bandwidth
    assert bandwidth.callers_in == pytest.approx(1000 * (50 * 1000 + 401) * 8 / 1e6)
    assert bandwidth.upstream_out == bandwidth.callers_in / 2
    assert bandwidth.upstream_in == bandwidth.callers_out / 2


MONEY: dict[str, tuple[dict[str, Any], float | None]] = {
    "a host and a spare one": ({"core_hour": 0.05, "per_search": 0}, 2 * 8 * 0.05 * 730),
    "the price of a core is not known": ({"per_search": 0}, None),
    "the price of a call is not known": ({"core_hour": 0.05}, None),
    "searches": ({"core_hour": 0, "per_search": 0.002, "rate": 1}, 0.002 * 730 * 3600),
    "more documents than a search": (
        {"core_hour": 0, "per_search": 0.002, "rate": 1, "documents": 101},
        2 * 0.002 * 730 * 3600,
    ),
    "long documents count twice": (
        {"core_hour": 0, "per_search": 0.002, "rate": 1, "document_bytes": 2001},
        0.002 * 730 * 3600,
    ),
    "long documents, more than a search": (
        {"core_hour": 0, "per_search": 0.002, "rate": 1, "documents": 60, "document_bytes": 2001},
        2 * 0.002 * 730 * 3600,
    ),
    "tokens": (
        {"core_hour": 0, "per_million_tokens": 0.05, "rate": 1, "document_bytes": 999},
        0.05 * 50 * 1000 / 4 / 1e6 * 730 * 3600,
    ),
    "the average, not the peak": ({"core_hour": 0, "per_search": 0.001, "rate": 9, "mean_rate": 3}, 0.003 * 730 * 3600),
    "what is cached is not billed": (
        {"core_hour": 0, "per_search": 0.001, "rate": 4, "cache": "memory", "cached": 0.75},
        0.001 * 730 * 3600,
    ),
    "a list price": ({"core_hour": 0, "model": "cohere/rerank-v3.5", "rate": 1}, 0.002 * 730 * 3600),
    "replicas with GPUs": (
        {"core_hour": 0.05, "gpu_hour": 2, "documents_per_second": 1e6, "replica_gpus": 1, "replica_cores": 4},
        2 * 8 * 0.05 * 730 + 2 * (2 + 0.2) * 730,
    ),
    "a replica that has no cores": ({"core_hour": 0.05, "documents_per_second": 1e6, "replica_cores": 0}, None),
    "the price of a GPU is not known": ({"core_hour": 0.05, "documents_per_second": 1e6, "replica_gpus": 1}, None),
}


@pytest.mark.parametrize(("demand", "dollars"), MONEY.values(), ids=MONEY)
def test_money_of_a_month(demand: dict[str, Any], dollars: float | None) -> None:
    total = made(**demand).money.total
    assert total == (None if dollars is None else pytest.approx(dollars))


def test_every_assumption_is_told() -> None:
    told = "\n".join(made(rate=1e6, limits=("requests",), p99=0.01, model="cohere/rerank-v3.5", burst=7).assumptions)
    for words in (
        "1,000,000 requests",
        "bursts of 7",
        "nothing is cached",
        "100 µs",
        "2.00 ns",
        "10 ms",
        "$0.002 a search",
    ):
        assert words in told


def test_large_figures_are_written_out() -> None:
    told = "\n".join(made(rate=5e6, mean_rate=2e6, documents_per_second=3e6, replica_cores=0).assumptions)
    assert [each for each in ("5,000,000", "2,000,000", "3,000,000") if each not in told] == []
    assert "e+" not in told


SOURCES: dict[str, tuple[dict[str, Any], str]] = {
    "a price": ({"per_search": 0.001}, "prices as given: $0.001 a search"),
    "for nothing": ({"per_search": 0}, "prices as given: $0 a search"),
    "a list price": ({"model": "cohere/rerank-v3.5"}, "prices of cohere/rerank-v3.5, 20"),
    "a price in place of the list's": ({"model": "cohere/rerank-v3.5", "per_search": 0.001}, "prices as given"),
    "a share that is nearly all": ({"cache": "memory", "cached": 0.9999}, "answers 99.99% of the requests"),
    "a share that floats": ({"cache": "memory", "cached": 0.29}, "answers 29% of the requests"),
    "the cache in memory": ({"cache": "memory"}, "the cache costs a gateway 0.4 µs"),
    "the shared cache": ({"cache": "shared"}, "the cache costs a gateway 5.0 µs"),
}


@pytest.mark.parametrize(("demand", "words"), SOURCES.values(), ids=SOURCES)
def test_where_a_figure_is_from_is_told(demand: dict[str, Any], words: str) -> None:
    assert words in "\n".join(made(**demand).assumptions)
