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
TABLE = "tests/providers/test_marmot.py"


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
        if name != "pyproject.toml":  # That one is of another package.
            assert not (ROOT / name).exists(), f"{name} of the tutorial exists already"
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_every_block_of_the_page_is_a_file_or_a_command() -> None:
    assert re.findall(r"^```(.+)$", PAGE, re.M) == [
        'python title="providers/adapters/marmot.py"',
        'json title="tests/wire/marmot/success.json"',
        'json title="tests/wire/marmot/minimal.json"',
        'json title="tests/wire/marmot/error_400.json"',
        f'python title="{TABLE}"',
        "sh",
        'yaml title="gateway.yaml"',
        'toml title="pyproject.toml"',
    ]


def python(tree: Path, *arguments: str) -> str:
    """What a command prints that runs in the copy, with the packages of the copy. It must succeed."""
    run = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "MARMOT_API_KEY": "a-key"},
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
    assert f"{CONFORMANCE}::test_never_sends_a_null[full-marmot] PASSED" in report


def test_the_configuration_is_valid_and_resolves_to_the_adapter(tree: Path) -> None:
    report = python(tree, "gateway", "check", "gateway.yaml")
    assert "https://api.marmot.example/v1/rank" in report
    assert "marmot/rank-1" in report
    assert "a-key" not in report


def test_the_command_of_the_page_names_those_two_files() -> None:
    assert f"python -m pytest {TABLE} {CONFORMANCE}\n" in PAGE


def test_the_package_offers_the_adapter_where_the_registry_looks() -> None:
    assert tomllib.loads(FILES["pyproject.toml"])["project"]["entry-points"] == {
        registry.GROUP: {"marmot": "marmot_rerank:PROVIDER"}
    }
