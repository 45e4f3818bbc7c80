"""The values of all metrics: every process writes its own, and every process can read those of all.

Values are float64 cells in a memory-mapped file per process. An addition is one memory access, without a lock: a
process writes its own file only, from its event loop's thread, and an aligned float64 is read whole. A journal beside
it lists which series begins at which cell. A process takes over the files of one that has ended, so counters never go
back and the folder holds no more files than there were processes at once. See docs/decisions/0021-metrics.md.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from mmap import mmap
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from gateway.process_folder import process_folder, try_lock
from gateway.telemetry.metric import Metric

FOLDER_VARIABLE = "RERANK_GATEWAY_METRICS_FOLDER"
"""The environment variable by which the workers of one gateway know their common folder."""

_FILE_BYTES = 1 << 20
_CELLS = _FILE_BYTES // 8
"""Enough for about 7,000 series of a histogram."""

_SPARE_CELLS = 64
"""Cells at the start that nobody reads. A series that no longer fits anywhere is written there."""

Labels = tuple[str, ...]
"""The values of a metric's labels, in the order of `Metric.labels`."""

Key = tuple[str, Labels]
"""One series: a metric's name, and its label values."""


class MetricStore:
    """The numbers of this process, and a reader of those of its siblings.

    Args:
        metrics: every metric that may be kept, by its name.
        folder: where the processes of one gateway keep their files; None keeps the numbers in this process.

    Attributes:
        metrics: as given.
        path: the file of this process; None if it keeps the numbers for itself.
    """

    def __init__(self, metrics: Mapping[str, Metric], folder: Path | None = None) -> None:
        self.metrics = metrics
        self.path: Path | None = None
        self._folder = folder
        self._index: dict[str, dict[Labels, int]] = {name: {} for name in metrics}
        self._next = _SPARE_CELLS
        self._lock: BinaryIO | None = None
        self._journal: BinaryIO | None = None
        self._map = mmap(-1, _FILE_BYTES) if folder is None else self._take_slot(folder)
        self._values: Any = memoryview(self._map).cast("d")
        self._clear_gauges()

    def add(self, metric: Metric, labels: Labels = (), amount: float = 1.0) -> None:
        """Add to a counter or a gauge."""
        index = self._index[metric.name].get(labels)
        self._values[self._allocate(metric, labels) if index is None else index] += amount

    def set(self, metric: Metric, labels: Labels, value: float) -> None:
        """Set a gauge."""
        index = self._index[metric.name].get(labels)
        self._values[self._allocate(metric, labels) if index is None else index] = value

    def start_at_zero(self, histogram: Metric) -> None:
        """Have a histogram's series without labels before any value is in it; the others start by adding 0."""
        if () not in self._index[histogram.name]:
            self._allocate(histogram, ())

    def observe(self, metric: Metric, value: float, labels: Labels = ()) -> None:
        """Count a value in its bucket of a histogram, and add it to the sum."""
        index = self._index[metric.name].get(labels)
        if index is None:
            index = self._allocate(metric, labels)
        values, buckets = self._values, metric.buckets
        values[index + bisect_left(buckets, value)] += 1.0
        values[index + len(buckets) + 1] += value

    def read(self) -> dict[Key, list[float]]:
        """Every series, added up over all processes of the folder.

        A counter or gauge is one number; a histogram is its buckets' counts, the one above all bounds, and the sum.
        """
        if self._folder is None:
            return self.read_own()
        total: dict[Key, list[float]] = {}
        for journal in sorted(self._folder.glob("*.series")):
            for key, values in self._read_file(journal):
                sum_so_far = total.get(key)
                total[key] = values if sum_so_far is None else [a + b for a, b in zip(sum_so_far, values, strict=True)]
        return total

    def read_own(self) -> dict[Key, list[float]]:
        """Every series of this process alone, in the form of `read`. Any thread may ask."""
        return {
            (name, labels): self._values[index : index + cell_count(self.metrics[name])].tolist()
            for name, series in self._index.items()
            for labels, index in list(series.items())
        }

    def close(self) -> None:
        """Give up the file, so that another process can go on with it."""
        self._clear_gauges()
        if self._lock is not None and self._journal is not None:
            _unlock(self._lock)
            self._lock.close()
            self._journal.close()

    def _allocate(self, metric: Metric, labels: Labels) -> int:
        """The index of the first cell of a new series. What no longer fits shares spare cells that nobody reads."""
        width, index = cell_count(metric), self._next
        if index + width > _CELLS:
            return 0
        self._index[metric.name][labels] = index
        self._next += width
        if self._journal is not None:
            self._journal.write(msgspec.json.encode((metric.name, labels, index)) + b"\n")
        return index

    def _clear_gauges(self) -> None:
        for name, series in self._index.items():
            if self.metrics[name].kind == "gauge":
                for index in series.values():
                    self._values[index] = 0.0

    def _take_slot(self, folder: Path) -> mmap:
        """The first file that no living process holds, with the series that its last owner left in it."""
        for slot in range(1 << 16):
            lock = (folder / f"{slot}.cells").open("a+b")
            if try_lock(lock):
                break
            lock.close()
        self._lock, self.path = lock, folder / f"{slot}.cells"
        name = f"{slot}.series"
        lock.truncate(_FILE_BYTES)
        for (metric, labels), index in self._read_journal(folder / name):
            self._index[metric][labels] = index
            self._next = max(self._next, index + cell_count(self.metrics[metric]))
        self._journal = (folder / name).open("ab", buffering=0)
        # The last owner may have been killed within a line: what follows must not be read as its end.
        self._journal.write(b"\n")
        return mmap(lock.fileno(), _FILE_BYTES)

    def _read_file(self, journal: Path) -> Iterator[tuple[Key, list[float]]]:
        with journal.with_suffix(".cells").open("r+b") as file:
            # A lock that can be had means that the process has ended: its gauges no longer stand for anything.
            ended = try_lock(file)
            values: Any
            with mmap(file.fileno(), _FILE_BYTES) as memory, memoryview(memory) as raw, raw.cast("d") as values:
                for key, index in self._read_journal(journal):
                    metric = self.metrics[key[0]]
                    if not (ended and metric.kind == "gauge"):
                        yield key, values[index : index + cell_count(metric)].tolist()

    def _read_journal(self, path: Path) -> Iterator[tuple[Key, int]]:
        if not path.exists():
            return
        for line in path.read_bytes().splitlines():
            with suppress(msgspec.DecodeError):  # a line that is being written, or was when its process was killed
                name, labels, index = msgspec.json.decode(line, type=tuple[str, Labels, int])
                if name in self.metrics:
                    yield (name, labels), index


def cell_count(metric: Metric) -> int:
    """Cells of one series: a histogram has one per bucket, one for what lies above all bounds, and one for the sum."""
    return len(metric.buckets) + 2 if metric.kind == "histogram" else 1


def _unlock(file: BinaryIO) -> None:
    import fcntl

    fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def shared_folder() -> Iterator[None]:
    """Give the processes that are started within one folder for their numbers. It is deleted at the end."""
    with process_folder() as folder:
        os.environ[FOLDER_VARIABLE] = str(folder)
        try:
            yield
        finally:
            del os.environ[FOLDER_VARIABLE]


def find_shared_folder(environ: Mapping[str, str]) -> Path | None:
    """The folder that the workers share; None for a gateway of one process."""
    name = environ.get(FOLDER_VARIABLE)
    return Path(name) if name else None
