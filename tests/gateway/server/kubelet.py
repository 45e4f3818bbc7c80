"""A folder as Kubernetes' kubelet mounts a ConfigMap or a Secret, and brings a new version of it.

    gateway.yaml -> ..data/gateway.yaml
    ..data -> ..2026_11_28_1
    ..2026_11_28_1/gateway.yaml

A new version is a new folder, and `..data` is renamed to lead there: all names change at once. The old folder goes.
Source: https://pkg.go.dev/k8s.io/kubernetes/pkg/volume/util#AtomicWriter
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

WRITTEN_AT = 1_790_000_000
"""One time for all files, so that nothing but the link tells the versions apart."""


class Mount:
    """A mounted volume.

    Args:
        folder: where to mount; made here.
        files: what is in it at first.
    """

    def __init__(self, folder: Path, files: dict[str, str | bytes]) -> None:
        self.folder = folder
        self._version = 0
        folder.mkdir()
        self.swap(files)

    def path(self, name: str) -> Path:
        return self.folder / name

    def swap(self, files: dict[str, str | bytes]) -> None:
        """Bring a new version."""
        self._version += 1
        data = self.folder / "..data"
        previous = data.resolve() if data.is_symlink() else None
        fresh = self.folder / f"..2026_11_28_{self._version}"
        fresh.mkdir()
        for name, content in files.items():
            (fresh / name).write_bytes(content.encode() if isinstance(content, str) else content)
            os.utime(fresh / name, (WRITTEN_AT, WRITTEN_AT))
        (self.folder / "..data_tmp").symlink_to(fresh.name)
        (self.folder / "..data_tmp").rename(data)
        for name in files:
            if not self.path(name).is_symlink():
                self.path(name).symlink_to(Path("..data") / name)
        if previous is not None:
            shutil.rmtree(previous)
