"""Two hosts of one cluster, each an address of the provider: one is killed, one is cut off.

Each host's proxy asks the replicas of both. What the well one had passed on to the other, when that fell silent, runs
out of time; the spare then serves it. It can be one request of each caller, and none later.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest

from tests.conftest import Process
from tests.ray_serve.cluster import Cluster, Host, until
from tests.ray_serve.load import load

TEXTS = [f"wing lift drag shock heat flow {number}" for number in range(10)]
BODY = {"model": "small", "query": "lift of the wing", "documents": TEXTS}
CALLERS = 8
SECONDS = 8
"""The deadline of each request: what was sent to a host that answers nothing needs half of it."""


@pytest.fixture(scope="module")
def both(cluster: Cluster) -> Cluster:
    """The cluster with a second host, and a replica on each."""
    cluster.tree = deepcopy(cluster.tree)
    cluster.tree["providers"]["local"]["scale"] = {"replicas": 2, "cpus": 3}
    other = cluster.start_host()
    cluster.deploy()
    cluster.wait_until(lambda: len(other.replicas()) == 1, "a replica on the second host")
    return cluster


@pytest.fixture(scope="module")
def url(both: Cluster, start_gateway: Callable[..., Process]) -> str:
    """A gateway that knows both hosts."""
    tree = deepcopy(both.tree)
    local = tree["providers"]["local"]
    del local["base_url"]
    local["base_urls"] = [f"http://{host.address}:8000/local" for host in both.hosts]
    local["health_check"] = {"url": "/local/readyz", "interval": 1}
    process = start_gateway({**tree, "deadline": {"default": SECONDS}})
    process.wait_until_ready()
    return process.url


def second(cluster: Cluster) -> Host:
    return cluster.hosts[1]


def test_a_host_that_is_cut_off_costs_no_request(both: Cluster, url: str) -> None:
    with load(url, BODY, callers=CALLERS) as running:
        until(lambda: running.served(100), "requests are served")
        second(both).cut_off()
        before = running.outcomes.total()
        until(lambda: running.served(before + 300), "requests are served without it")
        second(both).plug_back_in()
        until(lambda: running.served(before + 600), "requests are served after it")
    assert running.outcomes["local"] + running.spared() == running.outcomes.total(), running.outcomes
    assert running.spared() <= CALLERS, running.outcomes


def test_a_host_that_is_killed_costs_no_request(both: Cluster, url: str) -> None:
    both.wait_until(lambda: True, "both hosts serve again")
    with load(url, BODY, callers=CALLERS) as running:
        until(lambda: running.served(100), "requests are served")
        second(both).kill()
        before = running.outcomes.total()
        until(lambda: running.served(before + 300), "requests are served without it")
    assert running.outcomes["local"] + running.spared() == running.outcomes.total(), running.outcomes
    assert running.spared() <= CALLERS, running.outcomes
