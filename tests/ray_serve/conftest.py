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


def tree(folder: Path, collector: str) -> dict[str, Any]:
    """A gateway with default settings and a spare, two replicas with the models of that folder, and where to send traces."""
    models: dict[str, dict[str, Any]] = {
        name: {"path": str(folder / name), "dtype": "float32", "threads": 1} for name in ("small", "deep", "embedder")
    }
    models["narrow"] = {**models["small"], "queue_tokens": 4000}
    local = {"base_url": BASE, "api_key": "of-these-tests", "proxy": "none", "models": models}
    return {
        "auth": "none",
        "providers": {"local": {**local, "scale": {"replicas": 2, "cpus": 1}}, SPARE: {"adapter": "passthrough"}},
        "telemetry": {"otlp": {"endpoint": collector}, "traces": {"exporter": "otlp", "sample_ratio": 0.1}},
        "models": {name: {"target": f"local/{name}", "fallbacks": [f"{SPARE}/any"]} for name in models},
    }


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models of seeded weights: a cross-encoder, one that takes its time, and an embedding model."""
    import tiny_models

    folder = tmp_path_factory.mktemp("models")
    tiny_models.bert(folder / "small")
    tiny_models.bert(folder / "deep", hidden_size=128, intermediate_size=512, num_hidden_layers=24)
    tiny_models.embedder(folder / "embedder")
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
def cluster(models: Path, collector: Collector) -> Iterator[Cluster]:
    """One host with two replicas."""
    folder = Path(tempfile.mkdtemp(prefix="rg-"))
    running = Cluster(folder, tree(models, collector.url))
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
