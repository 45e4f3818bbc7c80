"""How a release is made: the workflow that a tag starts, and what must agree before."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / ".github/workflows/release.yml").read_text("utf-8")
WORKFLOW: dict[Any, Any] = yaml.safe_load(TEXT)
JOBS: dict[str, dict[str, Any]] = WORKFLOW["jobs"]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


def test_only_a_tag_releases() -> None:
    assert WORKFLOW[True] == {"push": {"tags": ["v*"]}}, "YAML reads `on` as true"


def test_actions_are_named_by_commit_with_the_version_for_readers() -> None:
    used = re.findall(r"uses: (.*)$", TEXT, re.M)
    assert len(used) >= 10
    assert [each for each in used if not re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)] == []


def test_the_workflow_says_the_words_of_the_makefile() -> None:
    words = [
        step["run"].split()[1]
        for job in JOBS.values()
        for step in job["steps"]
        if step.get("run", "").startswith("make")
    ]
    assert set(words) == {"check", "test", "test-dist"}
    assert [word for word in words if not re.search(rf"^{word}:", MAKEFILE, re.M)] == []


def test_nothing_is_published_that_was_not_tested_and_built_for_that_tag() -> None:
    for name in ("pypi", "image"):
        assert set(JOBS[name]["needs"]) == {"test", "dist"}
    assert 'make test-dist TAG="$GITHUB_REF_NAME"' in TEXT
    assert '.ci/dist.py --tag "$(TAG)"' in MAKEFILE


def test_each_job_may_write_only_what_it_publishes() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    writing = {
        name: [what for what, right in job.get("permissions", {}).items() if right == "write"]
        for name, job in JOBS.items()
    }
    assert writing == {"test": [], "dist": [], "pypi": ["id-token"], "image": ["packages"]}
    assert re.findall(r"secrets\.(\w+)", TEXT) == ["GITHUB_TOKEN"]
    # What comes from outside is read by the shell from the environment, and stands in no command.
    assert [step["run"] for job in JOBS.values() for step in job["steps"] if "${{" in step.get("run", "")] == []


def test_the_image_tells_where_it_comes_from() -> None:
    (build,) = [step["with"] for step in JOBS["image"]["steps"] if "build-push" in step.get("uses", "")]
    assert (build["provenance"], build["sbom"], build["push"]) == ("mode=max", True, True)


TAGS = {
    "another version": ("v9.9.9", "1.2.3", "## 1.2.3", "the tag must be v1.2.3"),
    "no v": ("1.2.3", "1.2.3", "## 1.2.3", "the tag must be v1.2.3"),
    "a changelog that stops at Unreleased": (
        "v1.2.3",
        "1.2.3",
        "## Unreleased",
        'CHANGELOG.md has no section "## 1.2.3"',
    ),
    "a changelog of a longer version": ("v1.2.3", "1.2.3", "## 1.2.34", 'CHANGELOG.md has no section "## 1.2.3"'),
}


@pytest.mark.parametrize("name", TAGS)
def test_a_tag_that_does_not_agree_builds_nothing(tmp_path: Path, name: str) -> None:
    tag, version, heading, sentence = TAGS[name]
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/dist.py", tmp_path / ".ci/dist.py")
    (tmp_path / "pyproject.toml").write_text(f'[project]\nversion = "{version}"\n', "utf-8")
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n", "utf-8")
    command = [sys.executable, ".ci/dist.py", "--tag", tag]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, sentence in done.stderr) == (1, True), done.stderr
    assert not (tmp_path / "dist").exists()


BY_NAME = re.compile(
    r"\b(pip3?|pipx|uv|uvx|poetry|conda)\s[^\n`]*?\brerank-gateway\b(?!(\[\w+\])? @ )|\brerank-gateway\[(?!\w+\] @ )"
)
"""An installation from an index, where this package is not published: whoever takes that name would be installed."""

INSTRUCTIONS = {
    "pip install rerank-gateway": True,
    'run: pip install "rerank-gateway[local]"': True,
    "uv tool install rerank-gateway": True,
    "uvx rerank-gateway serve": True,
    "Install `rerank-gateway[bedrock]` and say the region": True,
    'pip install "rerank-gateway[local] @ git+https://example.com/gateway"': False,
    "pip install .": False,
    'pip install "rerank-gateway @ git+https://example.com/gateway"': False,
    "`pip install .` puts `rerank-gateway` there": False,
}


@pytest.mark.parametrize("text", INSTRUCTIONS)
def test_what_an_installation_by_name_looks_like(text: str) -> None:
    assert bool(BY_NAME.search(text)) == INSTRUCTIONS[text]


def test_no_text_tells_users_to_install_what_is_not_published() -> None:
    folders = ("docs", "gateway", "providers", "evaluation", "config", "deploy", "benchmarks", ".ci", ".github")
    files = [*ROOT.glob("*"), *(path for folder in folders for path in (ROOT / folder).rglob("*"))]
    texts = [
        path
        for path in files
        if path.suffix in {".md", ".py", ".yaml", ".yml", ".toml", ".html", ""} and path.is_file()
    ]
    assert len(texts) > 300
    assert [str(path) for path in texts if BY_NAME.search(path.read_text("utf-8", errors="replace"))] == []
