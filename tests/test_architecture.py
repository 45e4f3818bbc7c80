"""docs/architecture.md is true: the tree is the real one, the layers are the contracts, a request walks as it says."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
NAME = "docs/architecture.md"
PAGE = (ROOT / NAME).read_text(encoding="utf-8")
TREE, LAYERS, WALK = re.findall(r"^```\n(.*?)^```$", PAGE, re.M | re.S)
KEYS = [{"name": "first", "key": "first-key"}, {"name": "second", "key": "second-key"}]
TOPS = ("gateway", "providers", "evaluation")
STEP = r"[a-z_.0-9]+:[A-Za-z_.]+"


def printed() -> list[str]:
    """Every path of the tree: two columns deeper is one folder deeper."""
    paths: list[str] = []
    above: list[str] = []
    for line in filter(None, TREE.splitlines()):
        depth = (len(line) - len(line.lstrip())) // 2
        above[depth:] = [line.split()[0]]
        paths.append("".join(above))
    return paths


def real() -> set[str]:
    """Every package, and the loose modules of the two packages at the top."""
    packages = [init.parent for top in TOPS for init in (ROOT / top).rglob("__init__.py")]
    loose = [path for top in TOPS for path in (ROOT / top).glob("*.py") if path.stem != "__init__"]
    return {f"{path.relative_to(ROOT)}/" for path in packages} | {str(path.relative_to(ROOT)) for path in loose}


@pytest.mark.parametrize("path", printed())
def test_what_the_tree_prints_is_there(path: str) -> None:
    found = ROOT / path
    assert found.is_dir() if path.endswith("/") else found.is_file(), f"{NAME} prints {path}, which does not exist"


@pytest.mark.parametrize("path", sorted(real()))
def test_the_tree_prints_what_is_there(path: str) -> None:
    assert path in printed(), f"{path} is not in the tree of {NAME}: add a line that says what it is"


def test_the_layers_are_those_of_the_contracts() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for contract in settings["tool"]["importlinter"]["contracts"]:
        if contract["type"] == "layers":
            (package,) = contract["containers"]
            shown = re.search(rf"^{package} +(.*?)(?=^\w|\Z)", LAYERS, re.M | re.S)
            assert shown is not None, f"{NAME} shows no layers of {package}"
            assert " ".join(shown[1].split()) == " → ".join(contract["layers"])


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:gateway|providers|tests)/[\w/.]*)`", PAGE))))
def test_a_file_that_the_page_names_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def code_of(step: str) -> CodeType:
    """The code of `module:function` or `module:Class.method` in the gateway."""
    module, _, names = step.partition(":")
    value: Any = importlib.import_module(f"gateway.{module}")
    for name in names.split("."):
        value = getattr(value, name)
    code: CodeType = value.__code__
    return code


@pytest.mark.parametrize("step", re.findall(STEP, PAGE))
def test_a_function_that_the_page_names_exists(step: str) -> None:
    assert code_of(step)


@contextmanager
def watched(names: dict[CodeType, str]) -> Iterator[list[str]]:
    """Which of these functions are called in this thread, in the order of their first calls."""
    calls: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        name = names.get(frame.f_code)
        if event == "call" and name is not None and name not in calls:
            calls.append(name)

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


async def test_a_request_walks_as_the_page_says(opened, upstream) -> None:
    steps = re.findall(STEP, WALK)
    client = await opened(
        {
            "providers": {"cohere": {"base_url": upstream.url, "api_keys": KEYS}},
            "rate_limits": {"requests": "100/minute", "models": {"cohere/*": {"requests": "100/minute"}}},
        }
    )
    body = {"model": "cohere/m", "query": "two words", "documents": ["nothing", "two words"]}
    with watched({code_of(step): step for step in steps}) as calls:
        response = await client.post("/v1/rerank", json=body)
    assert response.status_code == 200, response.text
    assert calls == steps
