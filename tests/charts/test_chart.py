"""The Helm chart, rendered by Helm and held against Kubernetes' schemas, unknown fields refused: `make test-charts`.

deploy/kubernetes must be what the chart gives with its default values.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config.loader import from_tree
from gateway.config.root import Config
from gateway.runtime.restart import SECTIONS

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-charts" / "bin" / "python"
MANIFESTS = ROOT / "deploy" / "kubernetes"

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="run `make test-charts`, which fetches Helm")

SERVER = {"host": "0.0.0.0", "port": 8080, "drain": 8, "shutdown_timeout": 30}
TLS = {"cert": "/etc/tls/tls.crt", "key": "/etc/tls/tls.key"}
MUTUAL = {**TLS, "client_ca": "/etc/tls/ca.crt"}
LIMIT = 33_554_432
OUTSIDE = {"callers": [{"podSelector": {}}, {"ipBlock": {"cidr": "203.0.113.0/24"}}]}
PROMETHEUS: dict[str, Any] = {"monitoring": {"enabled": True}, "autoscaling": {"enabled": True}}

PAGE = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
TAKEN: dict[str, dict[str, Any]] = {
    "the defaults": {},
    "with Prometheus": yaml.safe_load((ROOT / "deploy/helm/with-prometheus.yaml").read_text("utf-8")),
    "a vendor in place of the local models": {
        "config": {"providers": {"local": None, "cohere": {"api_key": "${COHERE_API_KEY}"}}},
        "secrets": {"env": ["vendors", "more"]},
        "monitoring": {"enabled": True},
        "autoscaling": {"enabled": True, "queueTokens": 0, "inFlight": 2_000_000},
    },
    "keys in a Secret": {
        "config": {"auth": {"file": "/etc/rerank-gateway/keys/keys.yaml"}},
        "secrets": {"files": [{"secret": "keys", "path": "/etc/rerank-gateway/keys"}]},
    },
    "TLS": {
        "config": {"server": {"tls": TLS}},
        "secrets": {"files": [{"secret": "tls", "path": "/etc/tls"}]},
        "monitoring": {"enabled": True},
    },
    "mutual TLS": {
        "config": {"server": {"tls": MUTUAL}},
        "secrets": {"files": [{"secret": "tls", "path": "/etc/tls"}]},
        "monitoring": {"enabled": True, "tlsConfig": {"insecureSkipVerify": True, "certFile": "/c", "keyFile": "/k"}},
    },
    "no operators' address": {
        "config": {"server": {"admin": None}},
        "service": {"type": "NodePort"},
        "networkPolicy": OUTSIDE,
    },
    "the operators' port is that of the callers' Service": {"service": {"port": 9090}},
    "a name for callers, and the pod's for Prometheus": {
        "config": {"server": {"allowed_hosts": ["rerank.example.com", "${POD_IP}"]}},
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "monitoring": {"enabled": True},
    },
    "local models by another name": {
        "config": {"providers": {"local": None, "mine": {"adapter": "local"}}},
        **PROMETHEUS,
    },
    "local models here, and elsewhere": {
        "config": {"providers": {"ray": {"adapter": "local", "base_url": "http://ray:8000"}}},
        **PROMETHEUS,
    },
    "sections that are empty": {
        "config": {"server": {"tls": None, "allowed_hosts": []}, "telemetry": {"metrics": {}}},
        "monitoring": {"enabled": True, "tlsConfig": None},
    },
    "to the world, with a policy of others": {"service": {"type": "LoadBalancer"}, "networkPolicy": {"enabled": False}},
    "a long drain and a long answer": {
        "config": {"server": {"drain": 60, "shutdown_timeout": 120}},
        "preStopSeconds": 0,
    },
    "large numbers, colons and braces": {
        "config": {
            "request_limits": {"body_bytes": LIMIT},
            "models": {"a:b {{ c }}": {"target": "local/all-minilm-l6-v2"}},
            "store": {"url": "${VALKEY_URL:-redis://valkey:6379/0}"},
        }
    },
    "whatever else can be set": {
        "replicas": 5,
        "image": {"repository": "registry.example/rerank", "tag": "0.2.0", "pullSecrets": ["registry"]},
        "env": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"}],
        "resources": {"limits": {"nvidia.com/gpu": 1}},
        "service": {"type": "LoadBalancer", "port": 443},
        "serviceAccount": {"annotations": {"a.example/role": "r"}},
        "podDisruptionBudget": {"maxUnavailable": "25%"},
        "networkPolicy": {"callers": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "egress": [{}]},
        "nodeSelector": {"gpu": "true"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "monitoring": {"enabled": True, "labels": {"release": "prometheus"}, "interval": "1m"},
        "startupSeconds": 601,
        "cacheSize": "20Gi",
    },
    "no NetworkPolicy": {"networkPolicy": {"enabled": False}},
    "names that look like numbers": {
        "secrets": {"env": ["123", "true"], "files": [{"secret": "1e3", "path": "/etc/keys"}]},
        "image": {"repository": "registry.example/123", "tag": "1.0", "pullSecrets": ["456"]},
        "monitoring": {"enabled": True, "labels": {"release": "1e3"}},
    },
    **{
        f"the page's values {number}": yaml.safe_load(text)
        for number, text in enumerate(re.findall(r'^```yaml title="values.yaml"\n(.*?)^```$', PAGE, re.M | re.S), 1)
    },
}

VENDOR: dict[str, Any] = {"local": None, "cohere": {"api_key": "k"}}
DISAGREEING: dict[str, tuple[dict[str, Any], str]] = {
    "two Secrets in one folder": (
        {"secrets": {"files": [{"secret": "a", "path": "/etc/keys"}, {"secret": "b", "path": "/etc/keys/"}]}},
        "secrets.files has /etc/keys twice",
    ),
    "Prometheus without the operators' address": (
        {"config": {"server": {"admin": None}}, "monitoring": {"enabled": True}},
        "monitoring.enabled needs config.server.admin",
    ),
    "Prometheus without metrics": (
        {"config": {"telemetry": {"metrics": {"prometheus": False}}}, "monitoring": {"enabled": True}},
        "take config.telemetry.metrics.prometheus: false away",
    ),
    "Prometheus without a certificate": (
        {"config": {"server": {"tls": MUTUAL}}, "monitoring": {"enabled": True}},
        "give one in monitoring.tlsConfig",
    ),
    "Prometheus by a Host that is not answered": (
        {"config": {"server": {"allowed_hosts": ["rerank.example.com"]}}, "monitoring": {"enabled": True}},
        "add ${POD_IP} there",
    ),
    "an autoscaler that nobody tells": ({"autoscaling": {"enabled": True}}, "needs monitoring.enabled"),
    "an autoscaler without the operators' address": (
        {"config": {"server": {"admin": None}}, **PROMETHEUS},
        "needs config.server.admin",
    ),
    "the queue of a vendor": (
        {"config": {"providers": VENDOR}, **PROMETHEUS},
        "autoscaling.queueTokens must be 0",
    ),
    "the queue of models that are elsewhere": (
        {"config": {"providers": {"local": {"base_url": "http://ray:8000"}}}, **PROMETHEUS},
        "autoscaling.queueTokens must be 0",
    ),
    "the queue of a vendor by the name of local": (
        {"config": {"providers": {"local": {"adapter": "cohere", "api_key": "k"}}}, **PROMETHEUS},
        "autoscaling.queueTokens must be 0",
    ),
    **{
        f"{kind} for the namespace alone": ({"service": {"type": kind}}, f"service.type {kind} is for callers outside")
        for kind in ("LoadBalancer", "NodePort")
    },
}
"""Each alone is right; together nothing in the cluster would say that they do not work."""

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown value": ({"replicaCount": 2}, "'replicaCount' not allowed"),
    "an unknown value below": ({"image": {"name": "x"}}, "'name' not allowed"),
    "a duration for a number of seconds": ({"config": {"server": {"drain": "8s"}}}, "/config/server/drain"),
    "a drain that the probe does not notice": ({"config": {"server": {"drain": 2}}}, "/config/server/drain"),
    "fractions of a second": ({"config": {"server": {"shutdown_timeout": 1.5}}}, "/config/server/shutdown_timeout"),
    "an address that no other pod reaches": ({"config": {"server": {"host": "127.0.0.1"}}}, "/config/server/host"),
    "a port that only root may listen on": ({"config": {"server": {"port": 80}}}, "/config/server/port"),
    "no provider at all": ({"config": {"providers": {"local": None}}}, "/config/providers"),
    "no server": ({"config": {"server": None}}, "server"),
    "text for a number": ({"replicas": "2"}, "/replicas"),
    "text for yes or no": ({"autoscaling": {"enabled": "yes"}}, "/autoscaling/enabled"),
    "a share that is none": ({"podDisruptionBudget": {"maxUnavailable": "some"}}, "maxUnavailable"),
    "a Secret over the configuration": (
        {"secrets": {"files": [{"secret": "s", "path": "/etc/gateway"}]}},
        "/secrets/files/0/path",
    ),
    "a Secret below a relative path": (
        {"secrets": {"files": [{"secret": "s", "path": "keys"}]}},
        "/secrets/files/0/path",
    ),
    "callers: none": ({"networkPolicy": {"callers": []}}, "/networkPolicy/callers"),
    "a policy for images that is none": ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    "a size without a unit": ({"cacheSize": "4"}, "/cacheSize"),
    "more replicas than Helm writes as a number": ({"replicas": 2_000_000}, "/replicas"),
    "a million of pods away": ({"podDisruptionBudget": {"maxUnavailable": 1_000_000}}, "maxUnavailable"),
    "operators where nobody reaches them": (
        {"config": {"server": {"admin": {"host": "127.0.0.2"}}}},
        "/config/server/admin/host",
    ),
    "operators at the callers' port": ({"config": {"server": {"admin": {"port": 8080}}}}, "admin.port must differ"),
    "fewer at most than at least": (
        {**PROMETHEUS, "autoscaling": {"enabled": True, "maxReplicas": 1}},
        "must not be below",
    ),
    **DISAGREEING,
    **{
        f"{section}: null": ({section: None}, f"missing property '{section}'")
        for section in ("image", "service", "networkPolicy", "autoscaling", "monitoring", "replicas")
    },
    "a label that is ours": (
        {"monitoring": {"labels": {"app.kubernetes.io/name": "x"}}},
        "invalid propertyName 'app.kubernetes.io/name'",
    ),
    "nobody asked who may call": ({"config": {"auth": None}}, "missing property 'auth'"),
    **{
        f"a Secret at {path}": ({"secrets": {"files": [{"secret": "s", "path": path}]}}, "/secrets/files/0/path")
        for path in (
            "/etc",
            "/var/cache/",
            "/a/../etc/gateway",
            "//etc/gateway",
            "/a,b",
            "/a: b",
            "/a}",
            "/a b",
            "/a\nb",
        )
    },
}

RELEASES = {
    "123": "rerank-gateway-123",
    "0x1": "rerank-gateway-0x1",
    "true": "true-rerank-gateway",
    "y": "y-rerank-gateway",
    "a.b": "a-b-rerank-gateway",
    "rerank-gateway.eu": "rerank-gateway-eu",
    "r" * 53: "r" * 50,
}
"""The names of releases that Helm takes, and that of the objects then: Kubernetes takes fewer for a Service."""

DEPLOYMENT = (MANIFESTS / "deployment.yaml").read_text("utf-8") if MANIFESTS.exists() else ""
RULES = MANIFESTS / "with-prometheus"
WRONG: dict[str, tuple[str, str, str]] = {
    "a typo in a field": ("deployment.yaml", "replicas:", "replica:"),
    "a typo deep below": ("deployment.yaml", "readOnlyRootFilesystem", "readonlyRootFilesystem"),
    "text for a number": ("deployment.yaml", "failureThreshold: 3", "failureThreshold: three"),
    "a required field that is missing": ("deployment.yaml", "- name: gateway", "- nam: gateway"),
    "another kind": ("deployment.yaml", "kind: Deployment", "kind: Deploiment"),
    "a version that is not served": ("deployment.yaml", "apps/v1", "apps/v1beta1"),
    "a field in the wrong place": ("service.yaml", "  type: ClusterIP", "  maxUnavailable: 1"),
    "an unknown field of a policy": ("networkpolicy.yaml", "policyTypes", "policyType"),
    "an unknown field of a budget": ("poddisruptionbudget.yaml", "maxUnavailable", "maxUnavailabel"),
    "an unknown field of an autoscaler": ("with-prometheus/horizontalpodautoscaler.yaml", "averageValue", "average"),
    "an unknown field of a ServiceMonitor": ("with-prometheus/servicemonitor.yaml", "interval", "every"),
    "an unknown field of a rule": ("with-prometheus/prometheusrules.yaml", "expr:", "expression:"),
}


def broken(file: str, right: str, wrong: str) -> str:
    text = (MANIFESTS / file).read_text("utf-8")
    assert right in text
    return text.replace(right, wrong)


@pytest.fixture(scope="module")
def answers() -> Any:
    asked = {
        "render": TAKEN | {name: values for name, (values, _) in REFUSED.items()},
        "releases": list(RELEASES),
        "check": {name: broken(*case) for name, case in WRONG.items()},
    }
    command = [str(PYTHON), ".ci/charts.py", "answer"]
    run = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def rendered(answers: Any, case: str) -> dict[str, list[Any]]:
    """The objects by the name of their template."""
    found = answers["rendered"][case]
    assert "error" not in found, found
    return {name: [one for one in yaml.safe_load_all(text) if one] for name, text in found["manifests"].items()}


def services(objects: dict[str, list[Any]]) -> list[Any]:
    return [one for found in objects.values() for one in found if one["kind"] == "Service"]


def pod(objects: dict[str, list[Any]]) -> Any:
    return objects["deployment.yaml"][0]["spec"]["template"]["spec"]


def configuration(objects: dict[str, list[Any]]) -> Config:
    """What the gateway makes of the ConfigMap."""
    text = objects["configmap.yaml"][0]["data"]["gateway.yaml"]
    for name, value in {"${COHERE_API_KEY}": "k", "${VALKEY_URL:-": "", "/0}": "/0", "${POD_IP}": "10.0.0.1"}.items():
        text = text.replace(name, value)
    tree = yaml.safe_load(text)
    tree["server"].pop("tls", None)  # Its files are the cluster's.
    if isinstance(tree.get("auth"), dict):
        tree["auth"] = "none"
    return from_tree(tree)


def test_helm_has_nothing_against_the_chart(answers: Any) -> None:
    assert answers["lint"]["errors"] == []
    assert [one for one in answers["lint"]["messages"] if "icon" not in one["error"]] == []


def test_the_manifests_are_what_the_chart_gives(answers: Any) -> None:
    there = {str(path.relative_to(MANIFESTS)): path.read_text("utf-8") for path in MANIFESTS.rglob("*.yaml")}
    assert there == answers["manifests"], "run `make manifests`"


@pytest.mark.parametrize("case", TAKEN)
def test_kubernetes_takes_what_is_rendered(answers: Any, case: str) -> None:
    rendered(answers, case)
    problems = answers["rendered"][case]["problems"]
    assert len(problems) == 2
    assert {version: found for version, found in problems.items() if found} == {}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_value_is_refused_by_its_name(answers: Any, case: str) -> None:
    assert REFUSED[case][1] in answers["rendered"][case].get("error", "it was taken")


@pytest.mark.parametrize("release", RELEASES)
def test_kubernetes_takes_every_name_of_a_release(answers: Any, release: str) -> None:
    found = answers["releases"][release]
    assert not any(found["problems"].values()), found
    for file, text in found["manifests"].items():
        for one in yaml.safe_load_all(text):
            assert one["metadata"]["name"] == RELEASES[release] + ("-admin" if file == "service-admin.yaml" else "")
            assert one["metadata"]["labels"]["app.kubernetes.io/instance"] == release


@pytest.mark.parametrize("case", WRONG)
def test_the_check_of_the_schemas_can_fail(answers: Any, case: str) -> None:
    assert all(answers["checked"][case].values()), "both versions have something against it"


@pytest.mark.parametrize("case", TAKEN)
def test_the_gateway_takes_the_configuration_and_has_the_time_to_stop(answers: Any, case: str) -> None:
    objects = rendered(answers, case)
    server = configuration(objects).server
    lifecycle = pod(objects)["containers"][0].get("lifecycle")
    before = lifecycle["preStop"]["sleep"]["seconds"] if lifecycle else 0
    assert pod(objects)["terminationGracePeriodSeconds"] >= before + server.drain + server.shutdown_timeout + 1
    probe = pod(objects)["containers"][0]["readinessProbe"]
    assert server.drain > probe["periodSeconds"] * probe["failureThreshold"]


@pytest.mark.parametrize("case", TAKEN)
def test_ports_are_those_of_the_configuration(answers: Any, case: str) -> None:
    objects = rendered(answers, case)
    server = configuration(objects).server
    wanted = {"http": server.port, **({"metrics": server.admin.port} if server.admin else {})}
    ports = {port["name"]: port["containerPort"] for port in pod(objects)["containers"][0]["ports"]}
    assert ports == wanted
    named = {port["targetPort"] for one in services(objects) for port in one["spec"]["ports"]}
    for rule in objects["networkpolicy.yaml"][0]["spec"]["ingress"] if "networkpolicy.yaml" in objects else ():
        named |= {port["port"] for port in rule["ports"]}
    assert named == set(wanted)


@pytest.mark.parametrize("case", TAKEN)
def test_the_operators_port_is_within_the_cluster_alone(answers: Any, case: str) -> None:
    objects = rendered(answers, case)
    types = {port["targetPort"]: one["spec"]["type"] for one in services(objects) for port in one["spec"]["ports"]}
    callers = TAKEN[case].get("service", {}).get("type", "ClusterIP")
    assert types == {"http": callers, **({"metrics": "ClusterIP"} if configuration(objects).server.admin else {})}
    assert [port["targetPort"] for port in objects["service.yaml"][0]["spec"]["ports"]] == ["http"]


@pytest.mark.parametrize("case", TAKEN)
def test_prometheus_reads_each_pod_once(answers: Any, case: str) -> None:
    """A ServiceMonitor selects Services, and each has the pods; `job` is the value of a label that the Service has."""
    objects = rendered(answers, case)
    assert ("servicemonitor.yaml" in objects) == TAKEN[case].get("monitoring", {}).get("enabled", False)
    for monitor in objects.get("servicemonitor.yaml", ()):
        labels = monitor["spec"]["selector"]["matchLabels"].items()
        (service,) = (one for one in services(objects) if labels <= one["metadata"]["labels"].items())
        (endpoint,) = monitor["spec"]["endpoints"]
        assert [port["name"] for port in service["spec"]["ports"]] == [endpoint["port"]] == ["metrics"]
        assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "rerank-gateway"


PROBES = {
    "the defaults": {"httpGet": {"path": "/readyz", "port": "http", "scheme": "HTTP"}},
    "TLS": {"httpGet": {"path": "/readyz", "port": "http", "scheme": "HTTPS"}},
    "mutual TLS": {"exec": {"command": ["python", "-m", "gateway.server.healthcheck"]}},
}


@pytest.mark.parametrize("case", PROBES)
def test_the_kubelet_asks_as_the_gateway_listens(answers: Any, case: str) -> None:
    probe = pod(rendered(answers, case))["containers"][0]["readinessProbe"]
    assert {name: probe[name] for name in ("httpGet", "exec") if name in probe} == PROBES[case]


def test_large_numbers_arrive_as_they_are(answers: Any) -> None:
    config = configuration(rendered(answers, "large numbers, colons and braces"))
    assert config.request_limits.body_bytes == LIMIT
    assert list(config.models) == ["a:b {{ c }}"]
    (hpa,) = rendered(answers, "a vendor in place of the local models")["horizontalpodautoscaler.yaml"]
    assert hpa["spec"]["metrics"][0]["pods"]["target"]["averageValue"] == "2000000"


def test_an_autoscaler_alone_says_how_many(answers: Any) -> None:
    assert "replicas" not in rendered(answers, "with Prometheus")["deployment.yaml"][0]["spec"]
    assert rendered(answers, "the defaults")["deployment.yaml"][0]["spec"]["replicas"] == 2


def test_only_what_a_gateway_cannot_change_makes_new_pods(answers: Any) -> None:
    def checksum(case: str) -> str:
        annotations = rendered(answers, case)["deployment.yaml"][0]["spec"]["template"]["metadata"]["annotations"]
        return str(annotations["checksum/restart"])

    assert checksum("keys in a Secret") == checksum("the defaults")
    assert checksum("a vendor in place of the local models") == checksum("the defaults")
    assert checksum("TLS") != checksum("the defaults")
    template = (ROOT / "deploy/helm/rerank-gateway/templates/deployment.yaml").read_text("utf-8")
    assert f"pick .Values.config {' '.join(json.dumps(name) for name in SECTIONS)} |" in template


def test_secrets_are_mounted_as_whole_folders(answers: Any) -> None:
    spec = pod(rendered(answers, "keys in a Secret"))
    (mount,) = (one for one in spec["containers"][0]["volumeMounts"] if one["name"] == "secret-0")
    assert mount == {"name": "secret-0", "mountPath": "/etc/rerank-gateway/keys", "readOnly": True}
    assert {"name": "secret-0", "secret": {"secretName": "keys", "defaultMode": 0o440}} in spec["volumes"]


def test_the_rules_are_those_of_the_files(answers: Any) -> None:
    rules = rendered(answers, "with Prometheus")["prometheusrules.yaml"]
    files = [yaml.safe_load((ROOT / "deploy" / f"{name}.yaml").read_text("utf-8")) for name in ("alerts", "slo")]
    assert [rule["spec"] for rule in rules] == files
