"""Whether a file is still the one that was read: by its stamp, which also differs when a link leads to another file.

An editor replaces a file, or writes into it. Kubernetes does neither: the names in a mounted ConfigMap or Secret are
links through `..data`, which is renamed to lead into another folder. So the stamp is that of the file behind all links.
"""

from __future__ import annotations

import os
from pathlib import Path

FileStamp = tuple[int, int, int, int]
"""Modification time in nanoseconds, size in bytes, inode, and the device that the inode's number is of."""


def stamp_of(path: str | Path) -> FileStamp | None:
    """The stamp of a file; None while it cannot be read, as in between when an editor replaces it."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev
