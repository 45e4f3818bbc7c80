"""What a plan rests on, in sentences: everything that would change the figures if it were otherwise."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.access.prices import as_of
from gateway.capacity import money
from gateway.capacity.costs import Costs
from gateway.capacity.demand import Demand
from gateway.capacity.figures import duration, many, number


def of(demand: Demand, costs: Costs) -> list[str]:
    """The sentences for a demand."""
    parts = (
        _traffic(demand, costs),
        _gateways(demand, costs),
        _behind(demand, costs),
        _store(demand, costs),
        _money(demand),
    )
    return [sentence for part in parts for sentence in part]


def _traffic(demand: Demand, costs: Costs) -> Iterator[str]:
    arrive = "one by one" if demand.burst == 1 else f"in bursts of {demand.burst:,} on average"
    yield (
        f"{number(demand.rate)} requests a second arrive {arrive}, at random; each has "
        f"{many(demand.documents, 'document')} of {many(demand.document_bytes, 'byte')} and a query of "
        f"{demand.query_bytes:,}; sizes vary by {demand.spread:.0%}"
    )
    if demand.cache == "none":
        yield "nothing is cached"
    else:
        yield (
            f"the cache ({demand.cache}) answers {number(demand.cached * 100)}% of the requests, which take a "
            "gateway as long as others; those are sent whole"
        )
        document_us = costs.shared_document_us if demand.cache == "shared" else costs.memory_document_us
        yield f"the cache costs a gateway {document_us:.1f} µs for each document"


def _gateways(demand: Demand, costs: Costs) -> Iterator[str]:
    yield (
        f"a request costs a gateway {costs.request_us:.0f} µs of a core, {costs.byte_ns:.2f} ns for each byte, and "
        f"{costs.wake_us:.0f} µs where its worker was idle, and up to {costs.cold_us:.0f} µs more the longer it was, "
        f"two thirds of them after {costs.cool_us / 1000:g} ms; your cores are as fast as those that were measured"
    )
    yield (
        f"a host has {many(demand.cores, 'core')} to itself, with a worker each, and callers' connections are spread "
        f"evenly; at the peak, {many(demand.spare, 'host')} away, a core is busy for at most "
        f"{demand.utilisation:.0%} of the time"
    )
    if demand.p99 is not None:
        yield (
            f"99 of 100 requests spend at most {duration(demand.p99)} in what is planned here, the spare ones away; "
            "what workers lose while they sleep is not counted"
        )
    yield "the machines do not stand still: pauses of a virtual machine come on top of the 99th percentile"


def _behind(demand: Demand, costs: Costs) -> Iterator[str]:
    if not demand.has_engine:
        passing = duration(demand.latency)
        yield f"the upstream answers after {passing}, whatever the load, and its own limits allow the rate"
        return
    if demand.engine:
        speed = costs.engines.get(demand.engine, 0.0)
        yield (
            f"{demand.engine} scores {speed:.1f} documents a second and core, of the length that was measured; a "
            f"replica has {many(demand.replica_cores, 'core')}, and is that much faster"
        )
    else:
        speed = demand.documents_per_second or 0.0
        yield f"a replica scores {number(speed)} documents a second, one request after the other"
    how = "to any replica" if demand.balance == "random" else "to the replica that is free first"
    yield f"a request goes {how}, as a whole; replicas are busy for at most {demand.utilisation:.0%} of the time"


def _store(demand: Demand, costs: Costs) -> Iterator[str]:
    if demand.limits:
        yield f"the store counts each request against: {', '.join(demand.limits)}"
    if demand.needs_store:
        yield (
            f"a call of the store costs it {costs.valkey_call_us:.0f} µs of a core, and a gateway "
            f"{costs.store_call_us:.0f} µs"
        )


def _money(demand: Demand) -> Iterator[str]:
    mean = demand.mean_rate
    yield (
        f"a month has {money.HOURS} hours; hosts and replicas run for all of it, as many as at the peak, and "
        + (f"{number(mean)} requests a second arrive on average" if mean else "as many requests arrive all the time")
    )
    if not demand.has_engine and (price := money.price_of(demand)):
        is_given = demand.per_search is not None or demand.per_million_tokens is not None
        source = "as given" if is_given else f"of {demand.model}, {as_of()}"
        by_search, by_tokens = number(price.per_search or 0), number(price.per_million_tokens or 0)
        yield (
            f"prices {source}: ${by_search} a search, ${by_tokens} a million tokens; searches of a request: "
            f"{money.searches(demand, price)}; tokens: {money.tokens(demand):,.0f}, of "
            f"{money.BYTES_PER_TOKEN} bytes each"
        )
