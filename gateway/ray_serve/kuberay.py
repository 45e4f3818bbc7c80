"""What KubeRay is told of a configuration, as data: the manifest of a RayService, and who may reach its pods.

Source: https://docs.ray.io/en/latest/cluster/kubernetes/getting-started/rayservice-quick-start.html (2026-11)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from math import ceil
from typing import Any

from gateway.config.root import Config
from gateway.ray_serve.files import (
    PORT,
    SURGE_PERCENT,
    Application,
    applications,
    drain_seconds,
    dump,
    environment,
    serve_config,
)

RAY_VERSION = "2.60.0"
"""That of requirements-ray.lock: driver and cluster must have the same."""

MOUNT, CONFIG_NAME = "/etc/rerank-gateway", "gateway.yaml"
"""Where a pod finds the configuration."""

SERVICE = "rerank-replicas"
"""The RayService; KubeRay calls what callers ask `rerank-replicas-serve-svc`."""

GATEWAY = "rerank-gateway"
"""The `app.kubernetes.io/name` of gateways. What replicas need is in a ConfigMap and a Secret called as the RayService:
those of the gateway belong to its chart, and have vendors' keys."""

AGENT_PORT = 52365
"""Of the agent that Ray runs on every host."""

GRACE_SECONDS = 30.0
"""Beside the time that requests may take: for Serve to notice, and for a pod to end."""

_PATIENT = {"initialDelaySeconds": 30, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 120}
_EAGER = {"initialDelaySeconds": 10, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 2}
"""KubeRay's own probes have such times, but ask by `bash` and `wget`, which an image need not have."""

_RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""What a namespace with the pod security standard `restricted` wants of each container."""


def rayservice(config: Config) -> list[dict[str, Any]]:
    """The RayService and its NetworkPolicy, as documents of a manifest. Raises ConfigError: see `applications`."""
    found = applications(config)
    service = {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": SERVICE, "labels": _labels()},
        "spec": {
            "serveConfigV2": dump(serve_config(config, f"{MOUNT}/{CONFIG_NAME}", in_pods=True)),
            # The head has no replica, and its proxy would be one more step.
            "excludeHeadPodFromServeSvc": True,
            "rayClusterConfig": {
                "rayVersion": RAY_VERSION,
                # Also where no number follows the load: a replica that takes another's place needs a pod.
                "enableInTreeAutoscaling": True,
                "autoscalerOptions": {"securityContext": _RESTRICTED},
                "headGroupSpec": {
                    "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},  # noqa: S104  # within the pod
                    "template": _pod(
                        "ray-head", environment(config), {"cpu": "1", "memory": "2Gi"}, config, _head(), {}
                    ),
                },
                "workerGroupSpecs": [_workers(each, config) for each in found],
            },
        },
    }
    return [service, _network_policy()]


def _workers(application: Application, config: Config) -> dict[str, Any]:
    """Pods with as many places as replicas fit into one, which is one unless they share a GPU."""
    scale, per_pod = application.scale, application.per_pod
    cpus, (least, most) = round(scale.cpus * per_pod, 6), scale.bounds
    resources = {"cpu": f"{cpus:g}", "memory": f"{4 * per_pod}Gi"}
    if scale.gpus:
        resources["nvidia.com/gpu"] = str(scale.whole_gpus)
    pods = ceil(least / per_pod)
    return {
        "groupName": application.group,
        "replicas": pods,
        "minReplicas": pods,
        "maxReplicas": ceil((most + ceil(most * SURGE_PERCENT / 100)) / per_pod),
        # KubeRay wants the places as JSON within quotes, for a shell.
        "rayStartParams": {
            "num-cpus": str(ceil(cpus)),
            "resources": json.dumps(json.dumps({application.group: per_pod})),
        },
        "template": _pod("ray-worker", environment(config, scale), resources, config, *_configured()),
    }


def _head() -> dict[str, Any]:
    alive = {"httpGet": {"path": "/api/healthz", "port": AGENT_PORT}}
    return {"livenessProbe": {**alive, **_PATIENT}, "readinessProbe": {**alive, **_EAGER}}


def _configured() -> tuple[dict[str, Any], dict[str, Any]]:
    """What a container with replicas has beside others, and what its pod has for it."""
    container = {
        **_head(),
        "readinessProbe": {"httpGet": {"path": "/-/healthz", "port": PORT}, **_EAGER},
        "envFrom": [{"secretRef": {"name": SERVICE, "optional": True}}],
        "volumeMounts": [{"name": "config", "mountPath": MOUNT, "readOnly": True}],
    }
    return container, {"volumes": [{"name": "config", "configMap": {"name": SERVICE}}]}


def _pod(
    name: str,
    variables: Mapping[str, str],
    resources: Mapping[str, str],
    config: Config,
    of_container: Mapping[str, Any],
    of_pod: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "metadata": {"labels": _labels()},
        "spec": {
            "terminationGracePeriodSeconds": ceil(drain_seconds(config) + GRACE_SECONDS),
            "automountServiceAccountToken": name == "ray-head",  # The head's autoscaler asks for pods.
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": name,
                    "image": f"rerank-gateway-ray:{version('rerank-gateway')}",
                    "env": [{"name": key, "value": value} for key, value in variables.items()],
                    "resources": {"requests": dict(resources), "limits": dict(resources)},
                    "securityContext": _RESTRICTED,
                    **of_container,
                }
            ],
            **of_pod,
        },
    }


def _labels() -> dict[str, str]:
    return {"app.kubernetes.io/part-of": SERVICE}


def _network_policy() -> dict[str, Any]:
    """Who reaches the pods: gateways at Serve's port, the pods each other, and KubeRay's operator the dashboard."""
    operator = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "kuberay-operator"}}, "namespaceSelector": {}}
    gateways = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": GATEWAY}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": SERVICE, "labels": _labels()},
        "spec": {
            "podSelector": {"matchLabels": _labels()},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [gateways], "ports": [{"protocol": "TCP", "port": PORT}]},
                {"from": [{"podSelector": {"matchLabels": _labels()}}]},
                {
                    "from": [operator],
                    "ports": [{"protocol": "TCP", "port": port} for port in (PORT, 8265)],
                },
            ],
        },
    }
