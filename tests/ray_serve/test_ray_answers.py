"""What replicas answer is what the same models answer inside the gateway."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from gateway.config.loader import from_tree
from gateway.ray_serve.kuberay import rayservice
from tests.gateway.telemetry.collector import Collector
from tests.ray_serve.cluster import RAY, Cluster, megabytes, processor_seconds, until

QUERIES = ["lift of the wing in flow", "heat of the body", "shock", "drag drag drag", "Überschall?"]
TEXTS = [f"wing {'lift drag shock heat ' * (number % 17)} plate {number}" for number in range(20)]
LONG = [f"{number} the shock layer of a body in the flow of a hot jet " * 12 for number in range(400)]
"""Ten seconds of work or more for a replica with one thread."""

MEGABYTES = 2300
"""What a cluster of one host may take: Ray and Serve take 1,000, each of two replicas 500 (docs/ray.md)."""


def ask(url: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    return httpx.post(f"{url}/v1/rerank", json=body, headers=headers, timeout=60, trust_env=False)


@pytest.mark.parametrize("model", ["local/small", "local/minilm"])
@pytest.mark.parametrize("query", QUERIES)
def test_scores_are_the_very_same(remote: str, inside: str, model: str, query: str) -> None:
    body = {"model": model, "query": query, "documents": TEXTS}
    far, near = ask(remote, body), ask(inside, body)
    assert far.status_code == near.status_code == 200, far.text
    assert far.json()["results"] == near.json()["results"]
    assert far.json()["usage"] == near.json()["usage"]
    assert {"tokenize_ms", "queue_ms", "compute_ms", "truncated_documents"} <= far.json()["extra_fields"].keys()


BODY = {"model": "local/small", "query": "lift of the wing", "documents": TEXTS}
FIELDS: dict[str, dict[str, Any]] = {
    "priority": {"priority": 7},
    "top_n": {"top_n": 3},
    "max_tokens_per_doc": {"max_tokens_per_doc": 5},
    "logits": {"use_activation": False},
    "return_documents": {"return_documents": True},
    "return_spans": {"return_spans": True},
    "an instruction that the model does not take": {"instruction": "find papers"},
    "an unknown model": {"model": "local/unknown"},
    "a query that leaves no room": {"query": "wing " * 500},
    "structured documents": {"documents": [{"text": "wing", "title": "lift"}, {"text": "drag"}]},
    "an alias": {"model": "small"},
    "characters of all kinds": {"documents": ["\u0000", "\U0001f6e9️ wing", "[SEP] lift", "\ufffe"]},
}


@pytest.mark.parametrize("changes", FIELDS.values(), ids=FIELDS)
def test_every_field_means_the_same(remote: str, inside: str, changes: dict[str, Any]) -> None:
    far, near = ask(remote, {**BODY, **changes}), ask(inside, {**BODY, **changes})
    assert far.status_code == near.status_code, far.text
    assert far.json().get("results") == near.json().get("results")
    for told in ("warnings", "truncated", "spans", "score_space"):
        assert far.json().get("extra_fields", {}).get(told) == near.json().get("extra_fields", {}).get(told)


def test_the_probes_of_the_manifest_are_answered(cluster: Cluster) -> None:
    _, spec = files_of(cluster)
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    containers = [container for group in groups for container in group["template"]["spec"]["containers"]]
    probes = [container[kind]["httpGet"] for container in containers for kind in ("livenessProbe", "readinessProbe")]
    asked = {(probe["port"], probe["path"]) for probe in probes}
    urls = [f"http://{cluster.hosts[0].address}:{port}{path}" for port, path in sorted(asked)]
    assert len(urls) == 2
    assert [httpx.get(url, timeout=30, trust_env=False).status_code for url in urls] == [200, 200]


READ_BY_RAY = """
import json, sys, yaml
from ray.autoscaler._private.kuberay import autoscaling_config
from ray.serve.schema import ServeDeploySchema
serve, cluster = json.load(sys.stdin)
groups = autoscaling_config._generate_available_node_types_from_ray_cr_spec(cluster)
(application,) = ServeDeploySchema(**serve).applications
(deployment,) = application.deployments
print(json.dumps([groups["local-1"], deployment.ray_actor_options.dict(exclude_unset=True)]))
"""
"""What Serve and the autoscaler that KubeRay starts beside the head make of the manifest."""


def test_ray_finds_a_place_for_each_replica_of_the_manifest(cluster: Cluster) -> None:
    told = json.dumps(files_of(cluster))
    run = subprocess.run([RAY / "python", "-c", READ_BY_RAY], input=told, capture_output=True, text=True, check=True)
    group, options = json.loads(run.stdout.splitlines()[-1])
    assert group["resources"] == {"CPU": 1, "memory": 4 << 30, "local-1": 1}
    assert (group["min_workers"], group["max_workers"]) == (2, 3)
    assert options == {"num_cpus": 1.0, "num_gpus": 0.0, "resources": {"local-1": 1.0}}


def files_of(cluster: Cluster) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the manifest tells Serve, and KubeRay of the pods."""
    spec = rayservice(from_tree(cluster.tree))[0]["spec"]
    return yaml.safe_load(spec["serveConfigV2"]), spec["rayClusterConfig"]


def test_a_replica_lets_nobody_in_without_the_key(remote: str) -> None:
    direct = "http://10.77.0.1:8000/local"
    body = {"model": "small", "query": "q", "documents": ["a"]}
    assert ask(direct, body).status_code == 401
    assert ask(direct, body, authorization="Bearer of-these-tests").status_code == 200


def test_a_replica_sends_its_part_of_a_trace(remote: str, collector: Collector) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"

    def senders() -> set[str]:
        return {
            attribute.value.string_value
            for resource, span in collector.spans()
            for attribute in resource.attributes
            if attribute.key == "service.instance.id" and span.trace_id.hex() == trace
        }

    ask(remote, BODY, traceparent=f"00-{trace}-b7ad6b7169203331-01")
    until(lambda: len(senders()) == 2, "spans of the gateway and of a replica")
    assert [name for name in senders() if "local#Replicas#" in name], senders()


def is_idle(cluster: Cluster) -> bool:
    """Whether the replicas compute next to nothing for half a second."""
    before = processor_seconds(cluster.replicas())
    time.sleep(0.5)
    return processor_seconds(cluster.replicas()) - before < 0.15


def they_stop(cluster: Cluster) -> None:
    """They stop before they have done half of LONG, however long a busy machine takes for that."""
    before = processor_seconds(cluster.replicas())
    until(lambda: is_idle(cluster), "the replicas have stopped", 60)
    assert processor_seconds(cluster.replicas()) - before < 5


def test_at_the_deadline_the_replica_stops(remote: str, cluster: Cluster) -> None:
    until(lambda: is_idle(cluster), "the replicas have nothing to do", 60)
    body = {"model": "local/minilm", "query": "shock", "documents": LONG}
    answer = ask(remote, body, **{"x-request-timeout-ms": "1500"})
    assert (answer.status_code, answer.json()["error_type"]) == (504, "deadline_exceeded")
    they_stop(cluster)


def test_a_caller_that_hangs_up_is_ended_in_the_replica(remote: str, cluster: Cluster) -> None:
    body = httpx.Request("POST", remote, json={"model": "local/minilm", "query": "heat", "documents": LONG}).content
    head = (
        f"POST /v1/rerank HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    place = urlsplit(remote)
    with socket.create_connection((place.hostname, place.port)) as connection:
        connection.sendall(head.encode() + body)
        until(lambda: not is_idle(cluster), "a replica is at work", 60)
    they_stop(cluster)


def test_the_cluster_takes_no_more_memory_than_is_told(remote: str, cluster: Cluster) -> None:
    assert megabytes(cluster.hosts[0].processes()) < MEGABYTES
