"""Which torch is installed, and from where: the script that `make` and the image run, against indexes on loopback.

Two indexes stand in for PyTorch's (builds for the CPU) and PyPI (builds that bring CUDA); the wheels are empty.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "install_torch.py"
CPU, CUDA, NEWER = "2.13.0+cpu", "2.13.0", "2.13.1"
GPU = "#!/bin/sh\necho 'GPU 0: NVIDIA H100'\n"
NO_GPU = "#!/bin/sh\necho 'NVIDIA-SMI has failed: could not communicate with the driver'\nexit 9\n"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere PyPI's build brings no CUDA")


def wheel(name: str, version: str, *requires: str) -> bytes:
    """A package that holds nothing."""
    info = f"{name}-{version}.dist-info"
    files = {
        "METADATA": "\n".join(
            [
                "Metadata-Version: 2.1",
                f"Name: {name}",
                f"Version: {version}",
                *(f"Requires-Dist: {x}" for x in requires),
            ]
        ),
        "WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    content = BytesIO()
    with ZipFile(content, "w") as archive:
        for file, text in files.items():
            archive.writestr(f"{info}/{file}", text)
        archive.writestr(f"{info}/RECORD", "".join(f"{info}/{file},,\n" for file in (*files, "RECORD")))
    return content.getvalue()


WHEELS = {
    "/cpu/": {f"torch-{CPU}-py3-none-any.whl": wheel("torch", CPU, "nothing-else")},
    "/empty/": {},
    "/other-python/": {f"torch-{CPU}-cp27-cp27m-manylinux1_x86_64.whl": wheel("torch", CPU)},
    "/pypi/": {
        f"torch-{CUDA}-py3-none-any.whl": wheel("torch", CUDA, "nvidia-cudnn"),
        "nvidia_cudnn-1-py3-none-any.whl": wheel("nvidia_cudnn", "1"),
    },
    "/newer/": {
        f"torch-{NEWER}-py3-none-any.whl": wheel("torch", NEWER, "nvidia-cudnn"),
        "nvidia_cudnn-1-py3-none-any.whl": wheel("nvidia_cudnn", "1"),
    },
}


class Index(ThreadingHTTPServer):
    """Simple repositories (https://packaging.python.org/en/latest/specifications/simple-repository-api/) by prefix."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.paths: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Any = self.server
        server.paths.append(self.path)
        repository, _, rest = self.path.removeprefix("/").partition("/")
        files = WHEELS.get(f"/{repository}/", {})
        project, _, file = rest.replace("%2B", "+").partition("/")
        if file in files:
            return self._send(files[file], "application/octet-stream")
        names = [name for name in files if name.startswith(project.replace("-", "_") + "-")]
        links = "".join(f'<a href="{name.replace("+", "%2B")}">{name}</a>' for name in names)
        return self._send(f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "text/html") if names else None

    def _send(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def index() -> Iterator[Index]:
    with Index() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with pip and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=110)
    return folder / "bin" / "python"


class Machine:
    """A machine on which torch is to be installed.

    Attributes:
        environ: what every command there sees; no setting of pip but the machine's own.
        index: what is asked for packages.
    """

    def __init__(self, python: Path, index: Index, folder: Path) -> None:
        self.index = index
        self._python = python
        self._folder = folder
        (folder / "bin").mkdir()
        own = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        config = {"HOME": str(folder), "XDG_CONFIG_DIRS": str(folder), "XDG_CONFIG_HOME": str(folder)}
        self.environ = {**own, **config, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": ""}
        self.run("-m", "pip", "uninstall", "--quiet", "--yes", "torch", "nvidia-cudnn")
        self.configure()

    def configure(self, *more: str) -> None:
        """Write pip's configuration: its own index, and further lines."""
        lines = ["[global]", f"index-url = {self.index.url}/pypi/", "disable-pip-version-check = true", *more]
        (self._folder / "pip").mkdir(exist_ok=True)
        (self._folder / "pip" / "pip.conf").write_text("\n".join(lines), "utf-8")

    def nvidia_smi(self, script: str) -> None:
        """Put a command of that name there."""
        (self._folder / "bin" / "nvidia-smi").write_text(script, "utf-8")
        (self._folder / "bin" / "nvidia-smi").chmod(0o755)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self._python), *arguments], env=self.environ, capture_output=True, text=True, timeout=110, check=False
        )

    def install(self, build: str = "", repository: str = "/cpu/") -> subprocess.CompletedProcess[str]:
        """Run the script as `make` does, with a CPU index here or, with a URL, elsewhere."""
        url = repository if "://" in repository else self.index.url + repository
        self.index.paths.clear()
        return self.run(str(SCRIPT), "--build", build, "--index", url)

    def torch(self) -> str:
        """The version that is installed; "" if none is."""
        listed = self.run("-m", "pip", "list", "--format", "freeze").stdout
        return next((line.split("==")[1] for line in listed.splitlines() if line.startswith("torch==")), "")


@pytest.fixture
def machine(python: Path, index: Index, tmp_path: Path) -> Machine:
    return Machine(python, index, tmp_path)


DEAD = "http://127.0.0.1:9/"
UNKNOWN = "http://no.such.host.invalid/whl/cpu"

CASES: dict[str, tuple[str, str, str, str, list[str]]] = {
    "no GPU": ("", "", "/cpu/", CPU, ["the CPU build, about 0.2 GB, from http://127.0.0.1"]),
    "a GPU": ("", GPU, "/cpu/", CUDA, ["the build for NVIDIA GPUs, about 2.7 GB, from pip's own index"]),
    "a driver without a GPU": ("", NO_GPU, "/cpu/", CPU, ["the CPU build"]),
    "the CPU build on a machine with a GPU": ("cpu", GPU, "/cpu/", CPU, ["the CPU build"]),
    "the GPU build on a machine without": ("cuda", "", "/cpu/", CUDA, ["the build for NVIDIA GPUs"]),
    "a CPU index that refuses": ("", "", DEAD, CUDA, [f"{DEAD} cannot be reached", "pip's own index", "2.7 GB"]),
    "a CPU index that nobody knows": ("cpu", "", UNKNOWN, CUDA, [f"{UNKNOWN} cannot be reached", "TORCH_INDEX=URL"]),
    "a CPU index without torch": ("", "", "/empty/", CUDA, ["/empty/ cannot be reached, or has no torch"]),
    "a CPU index for other Pythons": ("", "", "/other-python/", CUDA, ["has no torch for this Python"]),
}


@pytest.mark.parametrize("name", CASES)
def test_the_build_suits_the_machine_or_is_what_was_asked_for(machine: Machine, name: str) -> None:
    build, nvidia_smi, repository, version, words = CASES[name]
    if nvidia_smi:
        machine.nvidia_smi(nvidia_smi)
    done = machine.install(build, repository)
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.torch() == version
    assert [word for word in words if word not in done.stdout] == []
    # The size is said before anything is fetched, and pip says what it fetches.
    assert done.stdout.index("GB") < done.stdout.index("torch-2.13.0")


def test_torch_that_is_there_is_kept_without_asking_anybody(machine: Machine) -> None:
    machine.install()
    machine.nvidia_smi(GPU)
    done = machine.install()
    assert (done.returncode, done.stdout, machine.index.paths) == (0, "", [])
    assert machine.torch() == CPU


def test_another_build_replaces_the_one_that_is_there_if_it_is_named(machine: Machine) -> None:
    seen = []
    for build in ("cpu", "cuda", "cuda", "cpu"):
        done = machine.install(build)
        assert done.returncode == 0, done.stdout + done.stderr
        seen.append((machine.torch(), done.stdout != ""))
    assert seen == [(CPU, True), (CUDA, True), (CUDA, False), (CPU, True)]


def test_a_version_that_is_too_old_is_replaced(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "torch-2.1.0-py3-none-any.whl").write_bytes(wheel("torch", "2.1.0"))
    machine.run("-m", "pip", "install", "--no-deps", str(tmp_path / "torch-2.1.0-py3-none-any.whl"))
    assert machine.torch() == "2.1.0"
    assert machine.install().returncode == 0
    assert machine.torch() == CPU


@pytest.mark.parametrize("by", ["a configuration file", "the environment"])
def test_other_sources_of_pip_do_not_bring_cuda(machine: Machine, by: str) -> None:
    """pip would take the newest of all its sources."""
    url = f"{machine.index.url}/newer/"
    if by == "the environment":
        machine.environ["PIP_EXTRA_INDEX_URL"] = url
    else:
        machine.configure(f"extra-index-url = {url}")
    assert machine.install().returncode == 0
    assert machine.torch() == CPU


def test_other_settings_of_pip_stay_in_force(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "constraints.txt").write_text("torch==2.9\n", "utf-8")
    machine.configure(f"constraint = {tmp_path / 'constraints.txt'}")
    done = machine.install("cpu")
    assert done.returncode != 0
    assert "conflicting dependencies" in done.stderr
    assert machine.torch() == ""


@pytest.mark.parametrize("word", ["gpu", "CPU", "rocm", "cu130"])
def test_a_word_that_names_no_build_is_refused(machine: Machine, word: str) -> None:
    done = machine.install(word)
    assert (done.returncode, machine.torch(), machine.index.paths) == (2, "", [])
    assert done.stdout == f'torch: TORCH is "{word}"; it must be cpu or cuda, or nothing to choose by the machine\n'


def test_make_passes_both_variables_on(tmp_path: Path) -> None:
    variables = [f"VENV={tmp_path}", "TORCH=cuda", "TORCH_INDEX=http://127.0.0.1:9/"]
    done = subprocess.run(["make", "-n", *variables, "serve"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert '.ci/install_torch.py --build "cuda" --index "http://127.0.0.1:9/"' in done.stdout


def test_the_image_is_built_by_the_same_script_for_the_cpu() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    assert "ARG TORCH=cpu\n" in dockerfile
    assert '.ci/install_torch.py --build "$TORCH" --index "$TORCH_INDEX"' in dockerfile
    for place in (dockerfile, (ROOT / "Makefile").read_text("utf-8"), SCRIPT.read_text("utf-8")):
        assert "https://download.pytorch.org/whl/cpu" in place
