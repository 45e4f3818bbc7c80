"""Two hosts and one store: what both count and keep together, and what a host does whose cable is cut.

Real gateways, a real store and real cables, in network namespaces.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, TypeVar

import pytest
from msgspec import Struct

from tests.faults.host_programs import SLOW_SECONDS, UPSTREAM_PORT
from tests.faults.hosts import STORE_URL, Answer, Host, missing, two_hosts
from tests.gateway.access.conftest import key

TIMEOUT = 0.5
LEEWAY = 3.0
"""Seconds that an answer may take beyond the store's time limit: this test may share a busy machine."""

ALLOWED = 6
"""Requests that each limit below lets through."""

LIMITS: dict[str, dict[str, Any]] = {
    "requests": {"limits": {"requests": f"{ALLOWED}/day"}},
    "documents": {"limits": {"documents": f"{ALLOWED * 2}/day"}},
    "a budget": {"budget": {"usd": ALLOWED * 0.002, "period": "month"}},
}
SPENT = {"requests": (429, "limit_reached"), "documents": (429, "limit_reached"), "a budget": (402, "budget_spent")}
"""What a caller is told who has used it all up."""

T = TypeVar("T")
QUERIES = count()
WAYS = ("fail_closed", "fail_open")


class World(Struct):
    """Two hosts, the callers' keys by the name of their case, and how many requests of a case were served."""

    one: Host
    two: Host
    keys: dict[str, str]
    served: Counter[str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if reason := missing():
        pytest.skip(reason)
    many = {"limits": {"requests": "1000000/day"}}
    cases = {**LIMITS, "concurrency": {"limits": {"concurrency": 1}}, "cache": {}, "usage": {}}
    cases |= dict.fromkeys(WAYS, many)
    made = {name: key(name.replace(" ", "-").replace("_", "-"), **settings) for name, settings in cases.items()}
    folder = tmp_path_factory.mktemp("hosts")
    with two_hosts(folder) as (one, two):
        for host in (one, two):
            for way in WAYS:
                host.serve(way, configuration(way, [entry for _, entry in made.values()]), folder)
        for host in (one, two):
            host.wait()
        yield World(one, two, {name: secret for name, (secret, _) in made.items()}, Counter())


def configuration(when_down: str, keys: list[dict[str, Any]]) -> dict[str, Any]:
    upstream = {
        "adapter": "jina",
        "base_url": f"http://127.0.0.1:{UPSTREAM_PORT}",
        "api_key": "k",
        "proxy": "none",
        "capabilities": {"*": {"scoring": "pointwise"}},
    }
    return {
        "providers": {"up": upstream},
        "auth": {"keys": keys},
        "prices": {"up/*": {"per_search": 0.002, "documents_per_search": 100}},
        "store": {"url": STORE_URL, "timeout": TIMEOUT, "when_down": when_down},
        "cache": {"shared": True, "secret": "a-secret-that-both-hosts-know"},
    }


def new_query() -> str:
    return f"question {next(QUERIES)}"


@pytest.mark.parametrize("case", LIMITS)
def test_what_one_key_may_use_counts_over_both_hosts(case: str, world: World) -> None:
    hosts = [world.one, world.two] * (ALLOWED // 2)
    served = [host.ask(world.keys[case], new_query()) for host in hosts]
    assert [answer.status for answer in served] == [200] * ALLOWED
    for host in (world.one, world.two):
        refused = host.ask(world.keys[case], new_query())
        assert (refused.status, refused.body["error_type"]) == SPENT[case]


def test_what_one_host_has_under_way_counts_at_the_other(world: World) -> None:
    secret = world.keys["concurrency"]
    before = world.one.upstream_calls()
    world.one.begin(secret, f"slow {new_query()}")
    until(world.one.upstream_calls, lambda calls: calls > before)
    refused = world.two.ask(secret, new_query())
    assert (refused.status, refused.body["error_type"]) == (429, "limit_reached")
    first = world.one.end()
    assert (first.status, first.seconds >= SLOW_SECONDS) == (200, True)
    assert world.two.ask(secret, new_query()).status == 200


def test_scores_that_one_host_was_given_serve_the_other(world: World) -> None:
    secret, query = world.keys["cache"], new_query()
    asked = world.one.ask(secret, query)
    # Scores are kept after the answer was sent.
    until(lambda: world.one.ask(secret, query), lambda answer: told_of_cache(answer) is not None)
    before = world.two.upstream_calls()
    kept = world.two.ask(secret, query)
    assert [answer.status for answer in (asked, kept)] == [200, 200]
    assert kept.body["results"] == asked.body["results"]
    assert told_of_cache(kept)["documents"] == 2
    assert world.two.upstream_calls() == before


def told_of_cache(answer: Answer) -> Any:
    return answer.body.get("extra_fields", {}).get("cache")


def test_usage_is_that_of_both_hosts(world: World) -> None:
    secret = world.keys["usage"]
    statuses = [host.ask(secret, new_query()).status for host in (world.one, world.one, world.two)]
    assert statuses == [200] * 3
    for host in (world.one, world.two):
        assert used(host, secret, 3) == {"requests": 3, "documents": 6, "tokens": 30, "cost": 0.006}


def used(host: Host, secret: str, requests: int, way: str = "fail_closed") -> dict[str, Any]:
    """The usage that a host tells, as soon as it knows of so many requests."""
    answer = until(lambda: host.usage(secret, way), lambda found: total(found)["requests"] >= requests)
    return total(answer)


def total(answer: Answer) -> dict[str, Any]:
    rows = answer.body["data"] if answer.status == 200 else []
    sums = {name: sum(row.get(name, 0) for row in rows) for name in ("requests", "documents", "tokens")}
    return {**sums, "cost": round(sum(row.get("cost") or 0.0 for row in rows), 6)}


def until(ask: Callable[[], T], is_so: Callable[[T], bool]) -> T:
    """The first answer of which that is so."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if is_so(answer := ask()):
            return answer
        time.sleep(0.05)  # a pause of other processes, which have no clock of ours
    raise AssertionError(f"it never came to that; the last answer was {answer}")


@pytest.mark.parametrize("way", WAYS)
def test_a_host_whose_cable_is_cut_does_as_it_is_told_and_the_other_goes_on(way: str, world: World) -> None:
    assert [ask(world, host, way).status for host in (world.one, world.two)] == [200, 200]
    world.one.cut()
    try:
        cut = [ask(world, world.one, way) for _ in range(8)]
        other = [ask(world, world.two, way) for _ in range(4)]
    finally:
        world.one.connect()

    assert [(answer.status, answer.left is not None) for answer in other] == [(200, True)] * 4
    assert max(answer.seconds for answer in cut) < 2 * TIMEOUT + LEEWAY
    if way == "fail_closed":
        assert {(answer.status, answer.body["error_type"]) for answer in cut} == {(503, "store_down")}
    else:
        assert {(answer.status, answer.left) for answer in cut} == {(200, None)}, "served, and not counted"

    # Both go on from the same count, once the store has had what was still on its way and given it back.
    counts = until(lambda: counts_in_turn(world, way), lambda found: found == [found[0] - n for n in range(4)])
    before = other[-1].left or 0
    assert before - 100 < counts[0] < before, "what the other host counted stays counted"


def counts_in_turn(world: World, way: str) -> list[int]:
    """What is left of the limit, as both hosts tell it in turn; -1 where nothing was counted."""
    answers = [ask(world, host, way) for host in (world.one, world.two) * 2]
    return [-1 if answer.left is None else answer.left for answer in answers]


@pytest.mark.parametrize("way", WAYS)
def test_usage_of_the_time_without_a_cable_is_told_later(way: str, world: World) -> None:
    """Of this test and the one before: what a cut host served is written when it reaches the store again."""
    world.one.cut()
    try:
        statuses = [ask(world, world.one, way).status for _ in range(3)]
    finally:
        world.one.connect()
    assert statuses == [200 if way == "fail_open" else 503] * 3
    until(lambda: ask(world, world.one, way), lambda answer: answer.left is not None)
    wanted = world.served[way]
    for host in (world.one, world.two):
        assert used(host, world.keys[way], wanted, way)["requests"] == wanted


def ask(world: World, host: Host, way: str) -> Answer:
    """Ask something new with the key of that way, and count what is served."""
    answer = host.ask(world.keys[way], new_query(), way)
    world.served[way] += answer.status == 200
    return answer
