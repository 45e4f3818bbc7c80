"""A temporary folder of one gateway: gone at its end, or at the next start of one if it was killed.

A lock tells whether the owner lives, for the kernel takes it back however a process ends.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PREFIX = "rerank-gateway-"
"""Begins the name of each such folder."""

LOCK = "owner.lock"
"""The file in it that its owner holds locked."""


@contextmanager
def process_folder(purpose: str = "") -> Iterator[Path]:
    """Make a folder that only our user can enter, and remove those of our user's gateways that were killed.

    Args:
        purpose: becomes a part of its name.
    """
    _remove_abandoned()
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{purpose}") as name, _locked(Path(name)):
        yield Path(name)


def try_lock(file: BinaryIO) -> bool:
    """Whether this process holds the file's lock now: until the file is closed, or the process ends."""
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    part = folder / f"{LOCK}.part"
    with part.open("wb") as file:
        try_lock(file)
        # Under its name it is never seen unlocked: another gateway may be looking for abandoned folders.
        part.rename(folder / LOCK)
        yield


def _remove_abandoned() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # It is another user's, or another gateway has just removed it.
            if _is_ours(folder) and _is_abandoned(folder):
                shutil.rmtree(folder)


def _is_ours(folder: Path) -> bool:
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _is_abandoned(folder: Path) -> bool:
    """Whether the owner has ended, and its workers too: they outlive it for as long as their requests take."""
    return _can_be_locked(folder / LOCK) and all(map(_can_be_locked, filter(Path.is_file, folder.iterdir())))


def _can_be_locked(path: Path) -> bool:
    with path.open("rb") as file:
        return try_lock(file)
