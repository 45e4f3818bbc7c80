"""The lock files: fresh, hashed, for everything but torch, and from nowhere in particular. `make lock` writes them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
GROUPS: dict[str, list[str]] = PROJECT["dependency-groups"]
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]

RUNTIME = [*PROJECT["project"]["dependencies"], *GROUPS["build"]]
WANTED = {
    "requirements-upstreams.lock": RUNTIME,
    "requirements.lock": [*RUNTIME, *EXTRAS["local"]],
    "requirements-ray.lock": [*RUNTIME, *EXTRAS["local"], *EXTRAS["ray"]],
    "requirements-dev.lock": [
        *EXTRAS["eval"],
        *GROUPS["test"],
        *GROUPS["check"],
        *GROUPS["audit"],
    ],
}


def pinned(name: str) -> dict[str, str]:
    """The versions in a lock file, by canonical name."""
    entries = re.findall(r"^([A-Za-z0-9._-]+)==([^ \\]+)", (ROOT / name).read_text("utf-8"), re.MULTILINE)
    return {canonicalize_name(package): version for package, version in entries}


@pytest.mark.parametrize("name", WANTED)
def test_the_lock_holds_what_the_project_asks_for(name: str) -> None:
    locked = pinned(name)
    for text in WANTED[name]:
        wanted = Requirement(text)
        if wanted.name != "torch":
            assert wanted.specifier.contains(locked.get(canonicalize_name(wanted.name), "0")), (
                f"{text}: run `make lock`"
            )


@pytest.mark.parametrize("name", WANTED)
def test_every_locked_package_has_a_hash_and_no_index_is_named(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    for entry in re.split(r"\n(?=\S)", text.strip()):
        assert "--hash=sha256:" in entry, entry
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-ray.lock"])
def test_torch_and_what_comes_with_it_is_left_to_the_machine(name: str) -> None:
    assert [package for package in pinned(name) if re.match(r"torch|triton|nvidia|cuda", package)] == []


def test_what_several_locks_hold_they_hold_in_one_version() -> None:
    upstreams, runtime, ray, develop = (pinned(name) for name in WANTED)
    assert upstreams.items() <= runtime.items() <= ray.items()
    assert {name: develop[name] for name in runtime.keys() & develop.keys()} == {
        name: runtime[name] for name in runtime.keys() & develop.keys()
    }


DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def test_the_image_installs_what_is_locked_and_nothing_else_but_torch() -> None:
    installs = [
        line for line in DOCKERFILE.replace("\\\n", " ").split("\n") if re.search(r"pip install|torch\.py", line)
    ]
    locked, torch, package = [line for line in installs if line.startswith("RUN")]
    assert "--no-deps --require-hashes" in locked
    assert "install_torch.py" in torch
    # What builds the package is locked as well.
    assert "--no-build-isolation" in package
    for name in re.findall(r"requirements\S*\.lock", DOCKERFILE.split("RUN")[0]):
        assert f"!{name}" in (ROOT / ".dockerignore").read_text("utf-8").splitlines()


def test_the_image_runs_as_nobody_in_particular() -> None:
    last = DOCKERFILE[DOCKERFILE.rindex("FROM") :]
    assert re.findall(r"^USER (.*)$", last, re.MULTILINE) == ["10001"]
    assert "PYTHONSAFEPATH=1" in last
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    gateway = compose["services"]["gateway"]
    assert (gateway["read_only"], gateway["cap_drop"]) == (True, ["ALL"])
