"""Install torch: the build that suits this machine.

    python .ci/install_torch.py                 for an NVIDIA GPU if `nvidia-smi` answers, else for the CPU
    python .ci/install_torch.py --build cuda    that build, whatever is installed and whatever the machine has

For Linux, PyPI has only builds that bring CUDA along. Those without it are in an index of PyTorch's own
(https://pytorch.org/get-started/locally/), the CPU index. Where it does not answer, pip's own index must do. `make` and
the Dockerfile run this; it needs nothing but Python and pip.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CPU_SIZE, CUDA_SIZE = "0.2 GB", "2.7 GB"
"""What is downloaded for torch 2.13 on x86-64, with all that comes along."""

BUILDS = ("cpu", "cuda")
CONNECT_TIMEOUT = "5"
"""Seconds for each address of the CPU index, before pip's own index is taken. The download itself may take its time."""

GPU_TIMEOUT = 20.0
"""Seconds for `nvidia-smi`, which is slow where the driver is not kept loaded."""

SOURCES = {"index-url", "extra-index-url", "find-links", "no-index"}
"""Settings of pip that say where packages come from."""


def requirement() -> str:
    """What pyproject.toml asks for, such as `torch>=2.6`."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))["project"]
    return next(entry for entry in project["optional-dependencies"]["local"] if entry.startswith("torch"))


def suitable_build() -> str:
    """`cuda` if an NVIDIA GPU can be used here, else `cpu`."""
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=GPU_TIMEOUT, check=False)  # noqa: S607
    except (OSError, subprocess.TimeoutExpired):
        return "cpu"
    return "cuda" if done.returncode == 0 and b"GPU" in done.stdout else "cpu"


def installed_build() -> str:
    """The build that is installed; "" if there is none, or none that pyproject.toml allows."""
    if pip("install", "--dry-run", "--no-deps", "--no-index", requirement(), env=sourceless(), quiet=True):
        return ""
    needed = metadata.requires("torch") or []
    return "cuda" if any(entry.startswith(("nvidia-", "cuda-")) for entry in needed) else "cpu"


def install(build: str, index: str, again: bool) -> int:
    """Install that build, or what pip's own index has if the CPU index does not answer. Returns pip's exit status.

    Args:
        build: one of BUILDS.
        index: the CPU index.
        again: whether another build is installed, which would satisfy pip.
    """
    replace = ["--force-reinstall", "--no-deps"] if again else []
    # Only for Linux does PyPI's build bring CUDA.
    if build == "cpu" and sys.platform == "linux":
        say(f"the CPU build, about {CPU_SIZE}, from {index} (TORCH=cuda: the build for NVIDIA GPUs, {CUDA_SIZE})")
        if has_torch(index):
            return pip("install", *replace, "--no-deps", "--index-url", index, requirement(), env=sourceless())
        say(
            f"{index} cannot be reached, or has no torch for this Python. It comes from pip's own index now, with CUDA "
            f"if that is what is there: up to {CUDA_SIZE}. TORCH_INDEX=URL names another CPU index."
        )
    elif build == "cuda":
        say(f"the build for NVIDIA GPUs, about {CUDA_SIZE}, from pip's own index (TORCH=cpu: {CPU_SIZE})")
    return (pip("install", *replace, requirement()) if again else 0) or pip("install", requirement())


def has_torch(index: str) -> bool:
    """Whether that index answers soon and has torch for this Python and this machine."""
    ask = ["index", "versions", "torch", "--index-url", index, "--timeout", CONNECT_TIMEOUT, "--retries", "0"]
    return pip(*ask, env=sourceless(), quiet=True) == 0


def sourceless() -> dict[str, str]:
    """An environment in which pip has all of its settings (proxy, certificates, constraints) but its sources.

    With another source beside the CPU index, pip would take the newest torch of both, with CUDA or without.
    """
    own = {name: value for name, value in os.environ.items() if name not in map(variable, SOURCES)}
    return {**dict(settings()), **own, "PIP_CONFIG_FILE": os.devnull}


def settings() -> Iterator[tuple[str, str]]:
    """What pip's configuration files say, as environment variables; later files win, as with pip."""
    listed = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=True).stdout  # noqa: S603
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.partition(".")
        if section in ("global", "install") and key not in SOURCES:
            yield variable(key), " ".join(ast.literal_eval(value).split("\n")).strip()


def variable(key: str) -> str:
    """The environment variable of a setting of pip."""
    return "PIP_" + key.upper().replace("-", "_")


PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def pip(*arguments: str, env: dict[str, str] | None = None, quiet: bool = False) -> int:
    """Run pip and return its exit status. Unless it is quiet it shows its progress."""
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run([*PIP, *arguments], env=env, stdout=output, stderr=output, check=False).returncode  # noqa: S603


def say(text: str) -> None:
    """Print a line before pip goes on printing."""
    print(f"torch: {text}", flush=True)


def main(arguments: Sequence[str]) -> int:
    """Returns 0 if torch is there."""
    parser = ArgumentParser(description="Install torch: the build that suits this machine.")
    parser.add_argument("--build", default="", help="cpu or cuda; by default what is installed or suits the machine")
    parser.add_argument("--index", default=CPU_INDEX, help="where CPU builds come from")
    wanted = parser.parse_args(arguments)
    if wanted.build not in ("", *BUILDS):
        say(f'TORCH is "{wanted.build}"; it must be {" or ".join(BUILDS)}, or nothing to choose by the machine')
        return 2
    found = installed_build()
    if found and wanted.build in ("", found):
        return 0
    return install(wanted.build or suitable_build(), wanted.index or CPU_INDEX, again=bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
