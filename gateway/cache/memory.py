"""Entries in the memory of this process: the questions longest not asked leave first."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from gateway.cache.entries import Entry

ENTRY_BYTES = 350
"""Memory of one entry with its key, its time and its place in the table, about."""

QUESTION_BYTES = 700
"""Memory of a question without its entries, about."""

RESULT_BYTES = 130
"""Memory of one further result in an entry for a list."""


MIN_SWEEP = 64
"""Entries of a question below which those that have ended may stay until it leaves."""


class _Question:
    """What is known of one question: when each entry ends, and the entry.

    Attributes:
        entries: by their keys.
        size: bytes, about.
    """

    __slots__ = ("_sweep_at", "entries", "size")

    def __init__(self) -> None:
        self.entries: dict[bytes, tuple[float, Entry]] = {}
        self.size = QUESTION_BYTES
        self._sweep_at = MIN_SWEEP

    def add(self, entries: Mapping[bytes, Entry], now: float, until: float) -> None:
        """Add entries that end at `until`."""
        if len(self.entries) >= self._sweep_at:
            # Twice as many as were left the last time, so that each entry is looked at once or twice in all.
            self._drop([key for key, (end, _) in self.entries.items() if end <= now])
            self._sweep_at = max(MIN_SWEEP, 2 * len(self.entries))
        self._drop([key for key in entries if key in self.entries] if self.entries else ())
        self.entries.update({key: (until, entry) for key, entry in entries.items()})
        lists = [entry.scores for entry in entries.values() if type(entry.scores) is list]
        self.size += ENTRY_BYTES * len(entries) + RESULT_BYTES * sum(map(len, lists))

    def _drop(self, keys: Sequence[bytes]) -> None:
        for key in keys:
            _, entry = self.entries.pop(key)
            self.size -= _size(entry)


class MemoryEntries:
    """See EntryStore. What leaves for want of room is a whole question.

    Args:
        max_bytes: of all entries, about. What is larger by itself is not kept.
        ttl: seconds for which an entry is used.
        clock: seconds.
    """

    is_local = True
    failures = 0

    def __init__(self, max_bytes: int, ttl: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._ttl = ttl
        self._clock = clock
        self._questions: OrderedDict[bytes, _Question] = OrderedDict()
        self.memory_bytes = 0

    async def find(self, question: bytes, keys: Sequence[bytes], seconds: float | None = None) -> dict[bytes, Entry]:
        known = self._questions.get(question)
        if known is None:
            return {}
        self._questions.move_to_end(question)
        now, entries = self._clock(), known.entries
        found = {key: entry for key in keys if (entry := entries.get(key)) is not None}
        return {key: entry for key, (until, entry) in found.items() if until > now}

    def keep(self, question: bytes, entries: Mapping[bytes, Entry]) -> None:
        now = self._clock()
        known = self._questions.pop(question, None)
        if known is None:
            known = _Question()
        else:
            self.memory_bytes -= known.size
        known.add(entries, now, now + self._ttl)
        self._questions[question] = known
        self.memory_bytes += known.size
        while self.memory_bytes > self._max_bytes:
            _, oldest = self._questions.popitem(last=False)
            self.memory_bytes -= oldest.size

    async def aclose(self) -> None:
        self._questions.clear()
        self.memory_bytes = 0


def _size(entry: Entry) -> int:
    return ENTRY_BYTES + (RESULT_BYTES * len(entry.scores) if isinstance(entry.scores, list) else 0)
