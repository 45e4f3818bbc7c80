"""A plan in words: tables of figures, warnings, and all that it rests on."""

from __future__ import annotations

from gateway.capacity import figures
from gateway.capacity.demand import Demand
from gateway.capacity.plan import Plan
from gateway.capacity.pools import Pool, State
from gateway.cli.table import table


def describe(demand: Demand, plan: Plan) -> str:
    """The whole plan."""
    blocks = [_pools(demand, plan), _rest(demand, plan)]
    blocks += ["\n".join(f"warning: {sentence}" for sentence in plan.warnings)] if plan.warnings else []
    blocks.append("\n".join(["This rests on:", *(f"- {sentence}" for sentence in plan.assumptions)]))
    return "\n\n".join(blocks)


def _pools(demand: Demand, plan: Plan) -> str:
    rows = _pool(f"gateway hosts of {figures.many(demand.cores, 'core')}", plan.gateways)
    if plan.replicas:
        rows += _pool("replicas of the engine", plan.replicas)
    return table(["AT THE PEAK", "NUMBER", "BUSY", "WAIT P50", "WAIT P99", "TIME P50", "TIME P99"], rows)


def _pool(name: str, pool: Pool) -> list[list[str]]:
    rows = [[name, *_state(pool.planned)]]
    return [*rows, ["  with one lost", *_state(pool.one_lost)]] if pool.one_lost else rows


def _state(state: State) -> list[str]:
    busy = f"{state.utilisation:.0%}"
    if state.delays is None:
        return [f"{state.units:,}", busy, "overloaded: it cannot keep up", "", "", ""]
    delays = state.delays
    return [
        f"{state.units:,}",
        busy,
        *map(figures.duration, (delays.wait_p50, delays.wait_p99, delays.p50, delays.p99)),
    ]


def _rest(demand: Demand, plan: Plan) -> str:
    bandwidth, connections = plan.bandwidth, plan.connections
    behind = "the replicas" if plan.replicas else "the upstream"
    rows = [
        ["CPU of a gateway per request", f"{figures.duration(plan.cpu_us / 1e6)} of a core"],
        ["connections in use", f"{connections.callers:,} from callers, {connections.upstream:,} to {behind}"],
        ["callers send, and get", _both(bandwidth.callers_in, bandwidth.callers_out)],
        [f"{behind} get, and send", _both(bandwidth.upstream_out, bandwidth.upstream_in)],
    ]
    if store := plan.store:
        rows += [
            ["calls of Valkey", f"{store.calls:,.0f} a second, with {store.commands:,.0f} commands in them"],
            ["Valkey", f"busy for {store.busy:,.1%} of its core, up to {store.connections:,} connections"],
        ]
    return table(["BESIDES", ""], [*rows, *_money(demand, plan)])


def _both(there: float, back: float) -> str:
    return f"{figures.bit_rate(there)} and {figures.bit_rate(back)}"


def _money(demand: Demand, plan: Plan) -> list[list[str]]:
    money = plan.money
    rows = [["gateways, a month", _dollars(money.gateways, "core_hour")]]
    if plan.replicas:
        rows.append(["replicas, a month", _dollars(money.replicas, _missing(demand))])
    else:
        rows.append(["upstream, a month", _dollars(money.upstream, "model, per_search or per_million_tokens")])
    return [*rows, ["in all, a month", "unknown" if money.total is None else figures.dollars(money.total)]]


def _dollars(amount: float | None, needs: str) -> str:
    return f"unknown: give {needs}" if amount is None else figures.dollars(amount)


def _missing(demand: Demand) -> str:
    """What the price of a replica is not known without."""
    if not demand.replica_cores and not demand.replica_gpus:
        return "replica_cores or replica_gpus"
    needed = {"core_hour": demand.replica_cores, "gpu_hour": demand.replica_gpus}
    return " and ".join(name for name, amount in needed.items() if amount and getattr(demand, name) is None)
