"""What `make dist` built: it holds what git holds, and serves in a fresh environment. `make test-dist` runs this.

The environments get what the package needs from the index, as users' do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from providers.testing import ScriptedUpstream

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
WHEEL = ROOT / "dist" / f"rerank_gateway-{VERSION}-py3-none-any.whl"
SOURCE = ROOT / "dist" / f"rerank_gateway-{VERSION}.tar.gz"
PACKAGES = ("gateway", "providers", "evaluation")
INSTALL_SECONDS = 600

pytestmark = [
    pytest.mark.skipif(not WHEEL.exists(), reason="nothing is built; run `make test-dist`"),
    pytest.mark.timeout(INSTALL_SECONDS + 120),
]


def tracked(*places: str) -> set[str]:
    """The files that git knows there."""
    listed = subprocess.run(["git", "ls-files", "-z", *places], cwd=ROOT, capture_output=True, check=True).stdout
    return {name for name in listed.decode("utf-8").split("\0") if name and (ROOT / name).exists()}


def test_the_wheel_holds_its_packages_as_git_does_and_nothing_else() -> None:
    packed = {name for name in zipfile.ZipFile(WHEEL).namelist() if ".dist-info/" not in name}
    assert packed == tracked(*PACKAGES)
    assert any(name.endswith(".lua") for name in packed)


def test_the_source_distribution_holds_what_building_takes() -> None:
    with tarfile.open(SOURCE) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    wanted = tracked(*PACKAGES, "pyproject.toml", "README.md", "LICENSE", "NOTICE")
    made = {"PKG-INFO", "setup.cfg", "MANIFEST.in"}
    assert wanted <= names
    assert {name for name in names - wanted - made if ".egg-info/" not in name} == set()


@pytest.fixture(scope="module", params=[WHEEL, SOURCE], ids=["wheel", "source"])
def command(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command in a fresh environment that has one of the files installed, without the local engine."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", str(request.param)]
    subprocess.run(install, check=True, timeout=INSTALL_SECONDS, env=clean())
    subprocess.run([str(folder / "bin" / "python"), "-m", "pip", "check"], check=True, timeout=60, env=clean())
    return folder / "bin" / "rerank-gateway"


def clean() -> dict[str, str]:
    """The environment without what leads Python to this tree."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@contextmanager
def serving(command: Path, folder: Path, upstream: ScriptedUpstream) -> Iterator[httpx.Client]:
    """A client of the gateway that this command starts."""
    tree = {"providers": {"cohere": {"base_url": upstream.url, "api_key": "k"}}}
    (folder / "gateway.yaml").write_text(yaml.safe_dump(tree), "utf-8")
    process = subprocess.Popen(
        [str(command), "serve", "--config", "gateway.yaml", "--port", "0"],
        cwd=folder,
        env={**clean(), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        ready = next(line for line in process.stdout if " is ready on " in line)
        with httpx.Client(base_url=ready.split(" is ready on ")[1].split()[0], trust_env=False) as client:
            yield client
    finally:
        process.terminate()
        assert process.wait(30) == 0
        process.stdout.close()


def test_it_serves_a_request_its_page_and_its_document(
    command: Path, tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    body = {"model": "cohere/rerank-v3.5", "query": "q", "documents": ["a", "b"]}
    with serving(command, tmp_path, upstream) as client:
        answer = client.post("/v1/rerank", json=body)
        assert (answer.status_code, len(upstream.requests)) == (200, 1), answer.text
        assert {row["index"] for row in answer.json()["results"]} == {0, 1}
        assert client.get("/docs").status_code == 200
        assert client.get("/openapi.json").json()["info"]["version"] == VERSION


def test_the_command_tells_its_version_and_that_the_engine_is_not_there(command: Path, tmp_path: Path) -> None:
    done = subprocess.run([str(command), "--version"], capture_output=True, text=True, check=True, env=clean())
    assert done.stdout == f"rerank-gateway {VERSION}\n"
    (tmp_path / "gateway.yaml").write_text("providers: {local: {models: {m: {path: BAAI/bge-reranker-base}}}}", "utf-8")
    check = [str(command), "check", "gateway.yaml"]
    done = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=False, env=clean())
    assert (done.returncode, "the local engine is not installed" in done.stderr) == (1, True)
