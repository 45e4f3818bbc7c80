"""The arrows of docs/architecture.md are refused where they are broken: a file that breaks one is added to a copy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"

BROKEN: dict[str, tuple[str, str, str]] = {
    "a loose module in gateway": ("gateway/loose.py", "", "the gateway's layers: a new module needs a place here"),
    "a loose module in providers": ("providers/loose.py", "", "the providers' layers: a new module needs a place here"),
    "a package of gateway without a layer": (
        "gateway/attic/__init__.py",
        "",
        "the gateway's layers: a new module needs a place here",
    ),
    "a package that looks up": (
        "gateway/policy/upward.py",
        "import gateway.api.endpoint",
        "the gateway's layers: a new module needs a place here",
    ),
    "an adapter that knows another": (
        "providers/adapters/second_cohere.py",
        "from providers.adapters.cohere import encode",
        "adapters are pure translation and never know each other",
    ),
    "a client outside of transport": (
        "gateway/backends/second_client.py",
        "import httpx",
        "only transport, and the command line as a caller, know HTTP clients",
    ),
    "a client in a package nobody has listed": (
        "gateway/cellar/__init__.py",
        "import aiohttp",
        "only transport, and the command line as a caller, know HTTP clients",
    ),
    "ray in another module than the one": (
        "gateway/ray_serve/second.py",
        "from ray import serve",
        "only one module of the replicas knows Ray",
    ),
    "ray in the command line": ("gateway/cli/second.py", "import ray", "only one module of the replicas knows Ray"),
    "providers that know the gateway": (
        "providers/wire/upward.py",
        "from gateway.errors import ConfigError",
        "providers is the lower layer: no gateway, no client, no framework",
    ),
    "a dialect that knows the framework": (
        "gateway/api/dialects/framed.py",
        "from litestar import get",
        "a dialect is pure: it knows neither what is running nor the framework",
    ),
    "a dialect that knows what is running": (
        "gateway/api/dialects/running.py",
        "import gateway.runtime.service",
        "a dialect is pure: it knows neither what is running nor the framework",
    ),
    "http1 that knows reranking": (
        "gateway/http1/ranking_reader.py",
        "from providers.types import Ranking",
        "http1 knows nothing of reranking",
    ),
    "a gateway that names an adapter": (
        "gateway/routing/favourite.py",
        "import providers.adapters.cohere",
        "the gateway never names a particular adapter, nor what tests adapters",
    ),
    "a gateway that knows the evaluation": (
        "gateway/runtime/measured.py",
        "import evaluation.command",
        "nobody knows the evaluation: the command imports it by name, when it runs",
    ),
    "a loose module in evaluation": (
        "evaluation/loose.py",
        "",
        "the evaluation's layers: a new module needs a place here",
    ),
    "torch outside of the local engine": (
        "gateway/backends/tensors.py",
        "import torch",
        "only the local engine imports torch and tokenizers",
    ),
}


def lint(tree: Path) -> tuple[int, str]:
    ran = subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the contracts are about."""
    folder = tmp_path_factory.mktemp("tree")
    for package in ("gateway", "providers", "evaluation"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.fixture(scope="module")
def refusals(tree: Path) -> dict[str, str]:
    """What is said of each broken contract, by its name, with all the files there at once: one run for all cases."""
    untouched = lint(tree)
    assert untouched[0] == 0, untouched[1]
    for path, text, _ in BROKEN.values():
        (tree / path).parent.mkdir(exist_ok=True)
        (tree / path).write_text(f"{text}\n", encoding="utf-8")
    status, report = lint(tree)
    assert status == 1, report
    sections = re.split(r"^(.+)\n-+\n\n", report.partition("Broken contracts")[2], flags=re.MULTILINE)
    return dict(zip(sections[1::2], sections[2::2], strict=True))


@pytest.mark.parametrize(("path", "text", "contract"), BROKEN.values(), ids=BROKEN)
def test_is_refused_by_its_contract(path: str, text: str, contract: str, refusals: dict[str, str]) -> None:
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    assert re.search(rf"\b{re.escape(module)}\b", refusals[contract]), refusals[contract]


def test_every_contract_refuses_something(refusals: dict[str, str]) -> None:
    assert refusals.keys() == {contract for _, _, contract in BROKEN.values()}
    assert len(refusals) == (ROOT / "pyproject.toml").read_text(encoding="utf-8").count(
        "[[tool.importlinter.contracts]]"
    )
