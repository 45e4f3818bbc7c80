"""What the gateway's callers notice, with its default settings, when replicas die, are full, come and go: nothing."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from tests.ray_serve.cluster import Cluster, kill, until
from tests.ray_serve.load import load

TEXTS = [f"wing lift drag shock heat flow {number}" for number in range(10)]
BODY = {"model": "small", "query": "lift of the wing", "documents": TEXTS}


def test_a_replica_that_is_killed_costs_no_request(remote: str, cluster: Cluster) -> None:
    """The other replica was well all the time."""
    victim, *_ = cluster.replicas()
    with load(remote, BODY, callers=24) as running:
        until(lambda: running.served(100), "requests are served")
        kill(victim)
        before = running.outcomes.total()
        until(lambda: running.served(before + 200), "requests are served after it")
        until(lambda: victim not in cluster.replicas() and len(cluster.replicas()) == 2, "Serve starts another")
        cluster.wait_until(lambda: True, "it serves")
    assert set(running.outcomes) == {"local"}, running.outcomes


def test_a_cluster_that_is_full_is_back_at_once(remote: str, cluster: Cluster) -> None:
    """It refuses by its own limit on tokens (429), the spare serves the rest, and no breaker opens."""
    many = {"model": "narrow", "query": "lift", "documents": [f"{text} {'wing ' * 60}" for text in TEXTS * 3]}
    with load(remote, many, callers=40) as storm:
        until(lambda: storm.spared() > 20 and storm.outcomes["local"] > 20, "some are refused, others served")
    assert storm.spared() + storm.outcomes["local"] == storm.outcomes.total(), storm.outcomes
    with load(remote, {**BODY, "model": "narrow"}, callers=1) as after:
        until(lambda: after.served(20), "requests are served after it")
    assert set(after.outcomes) == {"local"}, after.outcomes


def test_other_replicas_take_over_one_by_one(remote: str, cluster: Cluster) -> None:
    """The file is changed, written and deployed again, as docs/ray.md has it."""
    before = set(cluster.replicas())
    cluster.tree = deepcopy(cluster.tree)
    cluster.tree["providers"]["local"]["models"]["small"]["batch_tokens"] = 512
    with load(remote, BODY, callers=4) as running:
        cluster.deploy()
        cluster.wait_until(lambda: not before & set(cluster.replicas()), "all replicas are new ones")
    assert set(running.outcomes) == {"local"}, running.outcomes


def test_replicas_follow_the_load(remote: str, cluster: Cluster) -> None:
    cluster.tree = deepcopy(cluster.tree)
    cluster.tree["providers"]["local"]["scale"]["replicas"] = "1-2"
    quicker = {"upscale_delay_s": 1, "downscale_delay_s": 3, "look_back_period_s": 11}
    much: dict[str, Any] = {"model": "minilm", "query": "lift", "documents": [f"{text} " * 20 for text in TEXTS * 4]}
    with load(remote, BODY, callers=1) as little:
        cluster.deploy(quicker)
        until(lambda: cluster.serving() == 1, "one is enough for little")
    with load(remote, much, callers=4) as heavy:
        until(lambda: cluster.serving() == 2, "a second one comes for much")
    with load(remote, BODY, callers=1) as less:
        until(lambda: cluster.serving() == 1, "it goes again")
    assert set(little.outcomes) == set(heavy.outcomes) == set(less.outcomes) == {"local"}
