"""Whether a file is still the one that was read: by its stamp, which also differs when a link leads to another file.

An editor replaces a file, or writes into it. Kubernetes does neither: the names in a mounted ConfigMap or Secret are
links through `..data`, which is renamed to lead into another folder. So the stamp is that of the file behind all links.
"""

from __future__ import annotations

import os
from pathlib import Path

FileStamp = tuple[int, int, int, int, int]
"""Times of the last modification and of the last change of status in nanoseconds, size in bytes, inode, and the device
that the inode's number is of. The second time is the kernel's own: a file that is written anew may get the inode of one
that was deleted, and tools set the first time as they like."""


def stamp_of(path: str | Path) -> FileStamp | None:
    """The stamp of a file; None while it cannot be read, as in between when an editor replaces it."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev
