"""The manifest for KubeRay, held against Kubernetes' schemas: its pods, and who may reach them (`make test-charts`).

There are no schemas of KubeRay's own objects at hand; what stands around the pods is beside a file that is read by
people (tests/gateway/ray_serve).
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-charts" / "bin" / "python"
GOLDEN = ROOT / "tests" / "gateway" / "ray_serve" / "golden" / "rayservice.yaml"

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="run `make test-charts`, which fetches the schemas")


def documents() -> dict[str, dict[str, Any]]:
    """Every part of the manifest that Kubernetes itself knows, by what it is."""
    service, policy = yaml.safe_load_all(GOLDEN.read_text("utf-8"))
    cluster = service["spec"]["rayClusterConfig"]
    groups = {"head": cluster["headGroupSpec"], **{each["groupName"]: each for each in cluster["workerGroupSpecs"]}}
    pods = {
        name: {"apiVersion": "v1", "kind": "Pod", **group["template"], "metadata": {"name": name}}
        for name, group in groups.items()
    }
    return {"the policy": policy, **pods}


def found(asked: dict[str, str]) -> Any:
    command, given = [str(PYTHON), ".ci/charts.py", "answer"], json.dumps({"render": {}, "check": asked})
    run = subprocess.run(command, input=given, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)["checked"]


def test_kubernetes_takes_the_pods_and_the_policy() -> None:
    written = {name: yaml.safe_dump(document) for name, document in documents().items()}
    assert set(written) == {"the policy", "head", "local-1", "small-ones-2"}
    wrong = written["local-1"].replace("terminationGracePeriodSeconds", "terminationGraceSeconds")
    checked = found({**written, "a field that there is not": wrong})
    assert all(checked.pop("a field that there is not").values())
    for name, by_version in checked.items():
        assert len(by_version) == 2
        assert not any(by_version.values()), (name, by_version)
