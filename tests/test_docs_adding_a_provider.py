"""The tutorial works as written: its files are taken out of the page, put into a copy of the tree, and run there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from providers import registry

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "adding-a-provider.md").read_text(encoding="utf-8")
FILES: dict[str, str] = dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', PAGE, re.M | re.S))
CONFORMANCE = "tests/providers/test_conformance.py"
TABLE = "tests/providers/adapters/test_marmot.py"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the tutorial builds on, with the tutorial's files added."""
    skip = shutil.ignore_patterns("__pycache__")
    for package in ("gateway", "providers"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=skip)
    shutil.copytree(ROOT / "tests" / "wire", tmp_path / "tests" / "wire")
    for name in ("pyproject.toml", "tests/providers/conftest.py", CONFORMANCE):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for name, text in FILES.items():
        assert not (ROOT / name).exists(), f"{name} of the tutorial exists already"
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The package of the page as pip leaves it: its files, and a dist-info directory that holds its entry points."""
    folder = tmp_path / "marmot-rerank"
    info = folder / "marmot_rerank-1.0.dist-info"
    info.mkdir(parents=True)
    for name, text in FILES.items():
        if name.startswith("marmot-rerank/"):
            (tmp_path / name).write_text(text, encoding="utf-8")
    (folder / "marmot_rerank.py").write_text(FILES["providers/adapters/marmot.py"], encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: marmot-rerank\nVersion: 1.0\n", encoding="utf-8")
    groups = tomllib.loads(FILES["marmot-rerank/pyproject.toml"])["project"]["entry-points"]
    lines = [line for group, points in groups.items() for line in (f"[{group}]", *map(" = ".join, points.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_every_block_of_the_page_is_a_file_or_a_command() -> None:
    assert re.findall(r"^```(.+)$", PAGE, re.M) == [
        'python title="providers/adapters/marmot.py"',
        'json title="tests/wire/marmot/success.json"',
        'json title="tests/wire/marmot/minimal.json"',
        'json title="tests/wire/marmot/error_400.json"',
        f'python title="{TABLE}"',
        "sh",
        'yaml title="gateway.yaml"',
        'toml title="marmot-rerank/pyproject.toml"',
        'python title="marmot-rerank/test_marmot_rerank.py"',
    ]


def python(tree: Path, *arguments: str, path: tuple[Path, ...] = ()) -> str:
    """What a command prints that runs in the folder, with the packages there and on the path. It must succeed."""
    run = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tree, *path))), "MARMOT_API_KEY": "a-key"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_the_adapter_passes_its_table_and_the_conformance_test(tree: Path) -> None:
    report = python(tree, "pytest", TABLE, CONFORMANCE, "-k", "marmot", "-vv", "-p", "no:cacheprovider")
    assert f"{TABLE}::test_says_why PASSED" in report
    assert f"{CONFORMANCE}::test_adapter[marmot-never sends a null] PASSED" in report


def test_the_configuration_is_valid_and_resolves_to_the_adapter(tree: Path) -> None:
    report = python(tree, "gateway", "check", "gateway.yaml")
    assert "https://api.marmot.example/v1/rank" in report
    assert "marmot/rank-1" in report
    assert "a-key" not in report


def test_the_command_of_the_page_names_those_two_files() -> None:
    assert f"python -m pytest {TABLE} {CONFORMANCE}\n" in PAGE


def test_the_package_of_ones_own_passes_its_tests(package: Path) -> None:
    report = python(package, "pytest", "-vv", "-p", "no:cacheprovider", path=(ROOT,))
    assert "test_conformance[marmot-is found by its name]" in report
    assert "test_ranks PASSED" in report


def test_the_page_names_the_group_where_the_registry_looks() -> None:
    assert f'[project.entry-points."{registry.GROUP}"]' in FILES["marmot-rerank/pyproject.toml"]
