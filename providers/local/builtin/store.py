"""Where the models that come with the gateway are on this machine, and whether they are whole."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from providers.errors import NotReady
from providers.local.builtin.catalogue import INSTALLED, BuiltInModel, find

FOLDER_VARIABLE = "RERANK_GATEWAY_MODELS"
"""The environment variable that names the folder of installed models."""

WORK = ".work-"
"""Begins the name of a folder in which a model is prepared or thrown away."""

COMMAND = "rerank-gateway models"

Say = Callable[[str], None]
"""Is told what goes on, a sentence at a time."""


def root() -> Path:
    """The folder of installed models: what the environment says, else one among the user's data.

    Source: https://specifications.freedesktop.org/basedir-spec/ (2026-11)
    """
    if chosen := os.environ.get(FOLDER_VARIABLE):
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME", "")
    # The specification has relative paths ignored.
    base = Path(data) if os.path.isabs(data) else Path(os.path.expanduser("~/.local/share"))
    return base / "rerank-gateway" / "models"


def installed_folder(name: str) -> Path:
    """The folder of an installed model. Raises NotReady with the command to run if it is not there."""
    model = find(name)
    if model.source is None:
        raise NotReady(f'"{INSTALLED}{name}" is wrong: that model is part of a package; its path is "{model.path}"')
    if not is_there(model):
        raise NotReady(f'the model "{name}" is not installed here; run: {COMMAND} install {name}')
    return root() / name


def is_there(model: BuiltInModel) -> bool:
    """Whether all files of a model that is fetched are there. Cheap: nothing is read."""
    return all((root() / model.name / file).is_file() for file in model.files)


def damage(folder: Path, model: BuiltInModel) -> list[str]:
    """What is not as it should be in the folder of a model that was fetched, as sentences. Reads every file."""
    problems = []
    for file, expected in model.files.items():
        if not (folder / file).is_file():
            problems.append(f"{file} is missing")
        elif _sha256(folder / file) != expected:
            problems.append(f"{file} is not the file that belongs there: its SHA-256 differs")
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    # The libraries would read a file such as modules.json, and load another model than was verified.
    return problems + [f"{name} does not belong there" for name in sorted(there - set(model.files))]


def check_installed(name: str) -> None:
    """Raises NotReady, with the command to run, unless every file of an installed model is what it should be."""
    if problems := damage(installed_folder(name), find(name)):
        raise NotReady(f'the installed model "{name}" is damaged: {"; ".join(problems)}; run: {COMMAND} install {name}')


def remove(name: str) -> bool:
    """Remove an installed model; False if there is none. Raises NotReady for one that a package carries; OSError.

    A gateway that serves it has read its files already and goes on.
    """
    if find(name).source is None:
        raise NotReady(f'"{name}" is part of a package that the local engine needs, and stays as long as that does')
    if not (root() / name).exists():
        return False
    with exclusive(root(), lambda _: None), work_folder() as work:
        (root() / name).rename(work / name)
    return True


@contextmanager
def work_folder() -> Iterator[Path]:
    """A folder on the disk of the models, for what is not ready. It is gone afterwards, with what is in it."""
    with tempfile.TemporaryDirectory(prefix=WORK, dir=root()) as name:
        yield Path(name)


@contextmanager
def exclusive(folder: Path, say: Say) -> Iterator[None]:
    """Let one process at a time change the folder; the others wait. What a killed one left behind is removed.

    Raises NotReady if the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("ab")
    except OSError as error:
        raise NotReady(
            f"the folder of models, {folder}, cannot be written: {error.strerror}; name another in {FOLDER_VARIABLE}"
        ) from None
    with lock:
        _lock(lock, say)
        for leftover in folder.glob(f"{WORK}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


def _lock(file: BinaryIO, say: Say) -> None:
    """Lock until the file is closed, or the process ends in whichever way."""
    try:
        import fcntl
    except ImportError:  # Windows: who installs twice at once does the work twice
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("Another process is installing or removing a model; waiting for it.")
        fcntl.flock(file, fcntl.LOCK_EX)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
