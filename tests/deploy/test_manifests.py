"""deploy/kubernetes fits the gateway: its configuration is served, its probes and metrics are there, its pods may write
where they must and nowhere else. That it is what the chart renders is held by tests/charts."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gateway.__main__ import parser
from gateway.config.server import ServerSettings
from gateway.telemetry.metrics import METRICS
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "deploy" / "kubernetes"
CHART = ROOT / "deploy" / "helm" / "rerank-gateway"
OBJECTS = {
    (one["kind"], one["metadata"]["name"]): one
    for path in sorted(MANIFESTS.rglob("*.yaml"))
    for one in yaml.safe_load_all(path.read_text("utf-8"))
}
NAME = "rerank-gateway"
DEPLOYMENT = OBJECTS["Deployment", NAME]
TEMPLATE = DEPLOYMENT["spec"]["template"]
POD = TEMPLATE["spec"]
(CONTAINER,) = POD["containers"]
CONFIGURATION = yaml.safe_load(OBJECTS["ConfigMap", NAME]["data"]["gateway.yaml"])
PROBES = {kind: CONTAINER[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")}
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
ADAPTER = yaml.safe_load((ROOT / "deploy" / "prometheus-adapter.yaml").read_text("utf-8"))["rules"]["custom"]

RESTRICTED: dict[str, tuple[Any, Any]] = {
    "not root": (POD["securityContext"]["runAsNonRoot"], True),
    "the user of the image": (f"USER {POD['securityContext']['runAsUser']}" in DOCKERFILE.splitlines(), True),
    "seccomp": (POD["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"}),
    "no token of the pod": (POD["automountServiceAccountToken"], False),
    "no token of the account": (OBJECTS["ServiceAccount", NAME]["automountServiceAccountToken"], False),
    "no variables of Services": (POD["enableServiceLinks"], False),
    "a read-only root": (CONTAINER["securityContext"]["readOnlyRootFilesystem"], True),
    "no further privileges": (CONTAINER["securityContext"]["allowPrivilegeEscalation"], False),
    "no capabilities": (CONTAINER["securityContext"]["capabilities"], {"drop": ["ALL"]}),
    "nothing of the host": ({"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & set(POD), set()),
    "no path of the host": ([volume for volume in POD["volumes"] if "hostPath" in volume], []),
}  # fmt: skip


@pytest.mark.parametrize(("found", "wanted"), RESTRICTED.values(), ids=RESTRICTED)
def test_a_pod_may_do_no_more_than_it_needs(found: Any, wanted: Any) -> None:
    assert found == wanted


def test_the_pod_has_the_time_to_stop() -> None:
    server = ServerSettings(**{name: CONFIGURATION["server"][name] for name in ("drain", "shutdown_timeout")})
    before = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert POD["terminationGracePeriodSeconds"] >= before + server.drain + server.shutdown_timeout + 1
    assert server.drain > PROBES["readiness"]["periodSeconds"] * PROBES["readiness"]["failureThreshold"]
    assert server.shutdown_timeout >= ServerSettings().shutdown_timeout


def test_the_command_is_one_that_exists() -> None:
    parser().parse_args(CONTAINER["args"])
    mounts = {mount["mountPath"]: mount["name"] for mount in CONTAINER["volumeMounts"]}
    folder, name = CONTAINER["args"][-1].rsplit("/", 1)
    (volume,) = (volume for volume in POD["volumes"] if volume["name"] == mounts[folder])
    assert name in OBJECTS["ConfigMap", volume["configMap"]["name"]]["data"]


def test_selectors_find_the_pods() -> None:
    labels = TEMPLATE["metadata"]["labels"].items()
    selectors = {
        "Deployment": DEPLOYMENT["spec"]["selector"]["matchLabels"],
        "Service": OBJECTS["Service", NAME]["spec"]["selector"],
        "operators' Service": OBJECTS["Service", f"{NAME}-admin"]["spec"]["selector"],
        "PodDisruptionBudget": OBJECTS["PodDisruptionBudget", NAME]["spec"]["selector"]["matchLabels"],
        "NetworkPolicy": OBJECTS["NetworkPolicy", NAME]["spec"]["podSelector"]["matchLabels"],
        **{one["topologyKey"]: one["labelSelector"]["matchLabels"] for one in POD["topologySpreadConstraints"]},
    }
    assert {name for name, one in selectors.items() if not one or not one.items() <= labels} == set()
    monitor = OBJECTS["ServiceMonitor", NAME]["spec"]
    wanted = monitor["selector"]["matchLabels"].items()
    found = {name: one for (_, name), one in OBJECTS.items() if wanted <= one["metadata"]["labels"].items()}
    assert list(found) == [f"{NAME}-admin"], "a pod would be read twice"
    service = found[f"{NAME}-admin"]
    assert monitor["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    target = OBJECTS["HorizontalPodAutoscaler", NAME]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) in OBJECTS


def scaling_metrics() -> set[str]:
    return {metric["pods"]["metric"]["name"] for metric in OBJECTS["HorizontalPodAutoscaler", NAME]["spec"]["metrics"]}


def test_the_autoscaler_looks_at_metrics_that_the_adapter_brings() -> None:
    gauges = {metric.prometheus for metric in METRICS.values() if metric.kind == "gauge"}
    brought = {rule["name"]["as"]: rule for rule in ADAPTER}
    assert scaling_metrics() == set(brought) <= gauges
    for name, rule in brought.items():
        assert rule["seriesQuery"] == f'{name}{{namespace!="",pod!=""}}'
        overrides = {label: one["resource"] for label, one in rule["resources"]["overrides"].items()}
        assert overrides == {"namespace": "namespace", "pod": "pod"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here")
@pytest.mark.parametrize("rule", ADAPTER, ids=lambda rule: rule["name"]["as"])
def test_the_adapters_queries_are_ones_of_prometheus(rule: Any, tmp_path: Path) -> None:
    query = rule["metricsQuery"]
    for placeholder, text in {"Series": rule["name"]["as"], "LabelMatchers": 'pod=~"a|b"', "GroupBy": "pod"}.items():
        query = query.replace(f"<<.{placeholder}>>", text)
    group = {"name": "g", "rules": [{"record": "a:b", "expr": query}]}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [group]}))
    command = ["promtool", "check", "rules", str(tmp_path / "rules.yaml")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_chart_is_of_this_release() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    version = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.M)[0]
    assert chart["appVersion"] == chart["version"] == version
    assert CONTAINER["image"] == f"rerank-gateway:{version}"


def values_on_the_page() -> list[Any]:
    page = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
    return [yaml.safe_load(text) for text in re.findall(r'^```yaml title="values.yaml"\n(.*?)^```$', page, re.M | re.S)]


@pytest.mark.parametrize("values", values_on_the_page(), ids=lambda values: ", ".join(values))
def test_the_values_on_the_page_are_ones_of_the_chart(values: Any) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    defaults = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.Draft7Validator(schema).validate(merged(defaults, values))


def merged(defaults: Any, values: Any) -> Any:
    """As Helm does: mappings by key, where null takes one away; everything else is replaced."""
    if not isinstance(defaults, dict) or not isinstance(values, dict):
        return values
    both = {name: merged(defaults.get(name), value) for name, value in values.items()}
    return {name: value for name, value in (defaults | both).items() if value is not None}


def adjusted(workers: int) -> dict[str, Any]:
    """The configuration of the ConfigMap, on free ports of the loopback."""
    server = CONFIGURATION["server"] | {"host": "127.0.0.1", "port": 0, "workers": workers, "drain": 0}
    return CONFIGURATION | {"server": server | {"admin": {"host": "127.0.0.1", "port": free_port()}}}


def metrics_at(admin: str) -> set[str]:
    """The names of the metrics that Prometheus is told."""
    path = OBJECTS["ServiceMonitor", NAME]["spec"]["endpoints"][0]["path"]
    text = httpx.get(admin + path, trust_env=False).text
    return {family.name for family in text_string_to_metric_families(text) if family.samples}


def ask(url: str, model: str) -> None:
    """Ask the probes, and rank once."""
    for probe in PROBES.values():
        assert httpx.get(url + probe["httpGet"]["path"], trust_env=False).status_code == 200
    body = {"model": model, "query": "q", "documents": ["a", "b"]}
    answer = httpx.post(f"{url}/v1/rerank", json=body, trust_env=False, timeout=60)
    assert answer.status_code == 200, answer.text


def test_the_gateway_serves_by_the_config_map(start_gateway: Callable[..., Any]) -> None:
    settings = adjusted(workers=1)
    gateway = start_gateway(settings)
    gateway.wait_until_ready()
    admin = f"http://127.0.0.1:{settings['server']['admin']['port']}"
    assert scaling_metrics() <= metrics_at(admin), "before anybody has asked: else the autoscaler waits for a caller"
    ask(gateway.url, "local/all-minilm-l6-v2")


READ_ONLY = """
set -e
cd /
mount --bind "$1" /tmp
for place in $(findmnt -rno TARGET | grep -vE '^/(proc|sys|dev|tmp)(/|$)' | sort -r); do
  mount -o remount,bind,ro "$place" 2>/dev/null || true
done
mkdir "$2" 2>/dev/null && exit 3
shift 2
exec "$@"
"""
"""Everything read-only but what Kubernetes gives a container: /dev, with /dev/shm, and a folder in place of /tmp."""


def namespace() -> list[str]:
    """The command that begins a mount namespace; as a user, one of users as well. Empty where there is none."""
    for command in (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]):
        probe = [*command, "sh", "-c", "mount -t tmpfs none /tmp && mount -o remount,bind,ro /"]
        if shutil.which("unshare") and subprocess.run(probe, capture_output=True).returncode == 0:
            return command
    return []


@pytest.mark.skipif(ROOT.is_relative_to("/tmp"), reason="the code is below /tmp, which becomes another folder here")
@pytest.mark.skipif(not namespace(), reason="no mount namespace can be made here")
def test_the_gateway_works_with_a_read_only_root(tmp_path: Path) -> None:
    """With workers and an engine of their own, which write most."""
    writable = {mount["mountPath"] for mount in CONTAINER["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"/tmp", "/var/cache/gateway"}
    assert "HF_HOME=/var/cache/gateway" in DOCKERFILE
    assert "RERANK_GATEWAY_ADDRESS_FILE=/dev/shm/" in DOCKERFILE
    settings = adjusted(workers=2)
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "cache").mkdir()
    address = Path(f"/dev/shm/rerank-gateway-test-{os.getpid()}")
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HOME": "/tmp/cache", "HOME": "/tmp/cache", "TMPDIR": "/tmp"}
    environ |= {"RERANK_GATEWAY_ADDRESS_FILE": str(address), "PYTHONDONTWRITEBYTECODE": "1"}
    serve = [sys.executable, "-m", "gateway", "serve", "--config", "/tmp/gateway.yaml"]
    command = [*namespace(), "sh", "-c", READ_ONLY, "sh", str(tmp_path), str(ROOT / "written"), *serve]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environ, text=True) as process:
        try:
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                said += line
                if "is ready on " in line:
                    break
            assert "is ready on " in said, said
            url = said.split("is ready on ")[1].split()[0]
            ask(url, "local/all-minilm-l6-v2")
            assert scaling_metrics() <= metrics_at(f"http://127.0.0.1:{settings['server']['admin']['port']}")
            assert address.read_text() == url
        finally:
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
            address.unlink(missing_ok=True)
    assert process.returncode == 0
    assert list(tmp_path.glob("rerank-gateway*")) == [], "what the gateway wrote is cleaned up"
