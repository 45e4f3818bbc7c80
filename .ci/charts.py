"""Render the Helm chart with Helm itself, and hold manifests against the schemas of Kubernetes: in `.venv-charts`.

    python .ci/charts.py write            # deploy/kubernetes, from the chart with its default values (`make manifests`)
    python .ci/charts.py answer < asked   # JSON for tests/charts: {"render": {name: values}, "releases": [name],
                                          # "check": {name: YAML}}

Helm comes as a library in a package, and the schemas, which are those of Kubernetes' own OpenAPI documents with unknown
fields refused, in another.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from helm_python import HelmError
from helm_python.chart import Chart, lint
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

ROOT = Path(__file__).parent.parent
CHART = ROOT / "deploy" / "helm" / "rerank-gateway"
MANIFESTS = ROOT / "deploy" / "kubernetes"
WITH_PROMETHEUS = ROOT / "deploy" / "helm" / "with-prometheus.yaml"
RELEASE = "rerank-gateway"
VERSIONS = ("1.30.0", "1.37.0")
"""The oldest that the chart is for, and the newest whose schemas there are."""
HEAD = "# Written by `make manifests` from deploy/helm/rerank-gateway with its default values: docs/kubernetes.md\n"
CRDS: dict[str, Any] = json.loads((ROOT / "tests" / "charts" / "crds.json").read_text("utf-8"))


def render(values: dict[str, Any], release: str = RELEASE) -> dict[str, str]:
    """Manifests by the name of their template, without those that the values leave empty. Raises HelmError."""
    rendered = Chart.load(CHART).render(values, name=release, namespace="default")
    names = {path: Path(path).name for path in rendered if path.endswith(".yaml")}
    return {name: rendered[path].strip() + "\n" for path, name in names.items() if rendered[path].strip()}


def manifests() -> dict[str, str]:
    """What each file of deploy/kubernetes should hold."""
    plain = render({})
    more = render(yaml.safe_load(WITH_PROMETHEUS.read_text("utf-8")))
    found = {name: HEAD + text for name, text in plain.items()}
    head = HEAD.replace("its default values", f"the values of {WITH_PROMETHEUS.relative_to(ROOT)}")
    return found | {f"with-prometheus/{name}": head + text for name, text in more.items() if name not in plain}


def problems(text: str, version: str) -> list[str]:
    """What a schema has against the manifests in a text."""
    return [problem for one in yaml.safe_load_all(text) if one for problem in _problems(one, version)]


def _problems(manifest: dict[str, Any], version: str) -> list[str]:
    api, kind = str(manifest.get("apiVersion")), str(manifest.get("kind"))
    validator = _validator(api, kind, version)
    if validator is None:
        return [f"there is no {kind} in {api} of Kubernetes {version}"]
    return [f"{kind}: {error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]


@cache
def _validator(api: str, kind: str, version: str) -> Draft202012Validator | None:
    if f"{api}/{kind}" in CRDS:
        return Draft202012Validator(CRDS[f"{api}/{kind}"])
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}-local-strict"
    group = api.split("/")[0].split(".")[0]
    name = f"{kind}-{group}-{api.split('/')[1]}" if "/" in api else f"{kind}-{api}"
    schema = folder / f"{name.lower()}.json"
    if not schema.is_file():
        return None
    return Draft202012Validator(json.loads(schema.read_text("utf-8")), registry=_definitions(version))


@cache
def _definitions(version: str) -> Registry[Any]:
    file = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}-local-strict" / "_definitions.json"
    resource = Resource.from_contents(json.loads(file.read_text("utf-8")), _specification())
    return Registry().with_resource("_definitions.json", resource)


def _specification() -> Any:
    from referencing.jsonschema import DRAFT202012

    return DRAFT202012


def write() -> None:
    """Write deploy/kubernetes, and delete what no longer belongs there."""
    wanted = manifests()
    for path in MANIFESTS.rglob("*.yaml"):
        if str(path.relative_to(MANIFESTS)) not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (MANIFESTS / name).parent.mkdir(parents=True, exist_ok=True)
        (MANIFESTS / name).write_text(text, encoding="utf-8")


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """What tests/charts asks for, all at once: loading Helm takes longer than its work."""
    return {
        "lint": lint(CHART, strict=True),
        "manifests": manifests(),
        "rendered": {name: _rendered(values) for name, values in asked["render"].items()},
        "releases": {name: _rendered({}, name) for name in asked.get("releases", ())},
        "checked": {name: _checked(text) for name, text in asked["check"].items()},
    }


def _rendered(values: dict[str, Any], release: str = RELEASE) -> dict[str, Any]:
    try:
        found = render(values, release)
    except HelmError as error:
        return {"error": str(error)}
    return {"manifests": found, "problems": _checked("---\n".join(found.values()))}


def _checked(text: str) -> dict[str, list[str]]:
    return {version: problems(text, version) for version in VERSIONS}


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        write()
    else:
        json.dump(answer(json.load(sys.stdin)), sys.stdout)
