"""Numbers that one process adds up and all can read: float64 cells in a memory map.

An addition is one memory access, without a lock: each process writes its own file only, from its event loop's thread,
and an aligned float64 is read whole. A process takes over the file of one that has ended, so counters never go back
and the folder holds no more files than there were processes at once. See docs/decisions/0701-metrics.md.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from mmap import mmap
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from gateway.telemetry.names import BY_NAME, Metric

FOLDER_VARIABLE = "RERANK_GATEWAY_METRICS_FOLDER"
"""The environment variable by which the workers of one gateway know their common folder."""

_SIZE = 1 << 20
_CELLS = _SIZE // 8
_SPARE = 64
"""Cells at the start that take what does not fit anywhere."""

Labels = tuple[str, ...]
Key = tuple[str, Labels]


class MetricStore:
    """The cells of this process.

    Attributes:
        values: all cells; write by index.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._index: dict[Key, int] = {}
        self._next = _SPARE
        self._lock: BinaryIO | None = None
        self._journal: BinaryIO | None = None
        self._map = mmap(-1, _SIZE) if folder is None else self._take_slot(folder)
        self.values: Any = memoryview(self._map).cast("d")
        self._clear_gauges()

    def place(self, metric: Metric, labels: Labels) -> int:
        """The index of the first cell of that series. What no longer fits shares spare cells that nobody reads."""
        key = (metric.name, labels)
        index = self._index.get(key)
        if index is None:
            width = width_of(metric)
            if self._next + width > _CELLS:
                return 0
            index = self._index[key] = self._next
            self._next += width
            if self._journal is not None:
                self._journal.write(msgspec.json.encode((metric.name, labels, index)) + b"\n")
        return index

    def read(self) -> dict[Key, list[float]]:
        """Every series, added up over all processes of the folder."""
        if self._folder is None:
            return {key: self._series(key, index) for key, index in self._index.items()}
        total: dict[Key, list[float]] = {}
        for journal in sorted(self._folder.glob("*.series")):
            for key, values in _of_file(journal):
                known = total.get(key)
                total[key] = values if known is None else [a + b for a, b in zip(known, values, strict=True)]
        return total

    def own(self) -> dict[Key, list[float]]:
        """Every series of this process alone."""
        return {key: self._series(key, index) for key, index in list(self._index.items())}

    def close(self) -> None:
        """Give up the file, so that another process can go on with it."""
        self._clear_gauges()
        if self._lock is not None and self._journal is not None:
            _unlock(self._lock)
            self._lock.close()
            self._journal.close()

    def _series(self, key: Key, index: int) -> list[float]:
        values: list[float] = self.values[index : index + width_of(BY_NAME[key[0]])].tolist()
        return values

    def _clear_gauges(self) -> None:
        for (name, _), index in self._index.items():
            if BY_NAME[name].kind == "gauge":
                self.values[index] = 0.0

    def _take_slot(self, folder: Path) -> mmap:
        for slot in range(1 << 16):
            lock = (folder / f"{slot}.cells").open("a+b")
            if _locked(lock):
                break
            lock.close()
        self._lock = lock
        name = f"{slot}.series"
        lock.truncate(_SIZE)
        for key, index in _journal(folder / name):
            self._index[key] = index
            self._next = max(self._next, index + width_of(BY_NAME[key[0]]))
        self._journal = (folder / name).open("ab", buffering=0)
        self._journal.write(b"\n")
        return mmap(lock.fileno(), _SIZE)


def width_of(metric: Metric) -> int:
    """Cells of one series: a histogram has one per bucket, one for what is above, one for the sum."""
    return len(metric.buckets) + 2 if metric.kind == "histogram" else 1


def _of_file(journal: Path) -> Iterator[tuple[Key, list[float]]]:
    with journal.with_suffix(".cells").open("r+b") as file:
        # A lock that can be had means that the process has ended: its gauges no longer stand for anything.
        ended = _locked(file)
        values: Any
        with mmap(file.fileno(), _SIZE) as memory, memoryview(memory) as raw, raw.cast("d") as values:
            for key, index in _journal(journal):
                metric = BY_NAME[key[0]]
                if not (ended and metric.kind == "gauge"):
                    yield key, values[index : index + width_of(metric)].tolist()


def _journal(path: Path) -> Iterator[tuple[Key, int]]:
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        with suppress(msgspec.DecodeError):  # a line that is being written, or was when its process was killed
            name, labels, index = msgspec.json.decode(line, type=tuple[str, Labels, int])
            if name in BY_NAME:
                yield (name, labels), index


def _locked(file: BinaryIO) -> bool:
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _unlock(file: BinaryIO) -> None:
    import fcntl

    fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def shared_folder() -> Iterator[None]:
    """A folder for the cells of all processes that are started meanwhile."""
    with tempfile.TemporaryDirectory(prefix="rerank-gateway-") as name:
        os.environ[FOLDER_VARIABLE] = name
        yield
        del os.environ[FOLDER_VARIABLE]


def folder_of(environ: Mapping[str, str]) -> Path | None:
    """The folder that the workers share; None for a gateway of one process."""
    name = environ.get(FOLDER_VARIABLE)
    return Path(name) if name else None
