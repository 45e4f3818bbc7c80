"""Entries in the memory of this process: the questions longest not asked leave first, and all entries after their time."""

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


class _Question:
    """What is known of one question: when each entry ends, and the entry."""

    __slots__ = ("entries", "size")

    def __init__(self) -> None:
        self.entries: dict[bytes, tuple[float, Entry]] = {}
        self.size = QUESTION_BYTES


class MemoryEntries:
    """See EntryStore. What leaves for want of room is a whole question.

    Args:
        max_bytes: of all entries, about. What is larger by itself is not kept.
        ttl: seconds for which an entry is used.
        clock: seconds.
    """

    def __init__(self, max_bytes: int, ttl: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._ttl = ttl
        self._clock = clock
        self._questions: OrderedDict[bytes, _Question] = OrderedDict()
        self.memory_bytes = 0

    async def find(self, question: bytes, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        known = self._questions.get(question)
        if known is None:
            return {}
        self._questions.move_to_end(question)
        now, entries = self._clock(), known.entries
        found = {key: entry for key in keys if (entry := entries.get(key)) is not None}
        return {key: entry for key, (until, entry) in found.items() if until > now}

    def keep(self, question: bytes, entries: Mapping[bytes, Entry]) -> None:
        now = self._clock()
        until, known = now + self._ttl, self._questions.pop(question, None) or _Question()
        self.memory_bytes -= known.size if known.entries else 0
        known.entries.update({key: (until, entry) for key, entry in entries.items()})
        _measure(known, entries, now)
        self._questions[question] = known
        self.memory_bytes += known.size
        while self.memory_bytes > self._max_bytes:
            _, oldest = self._questions.popitem(last=False)
            self.memory_bytes -= oldest.size

    async def aclose(self) -> None:
        self._questions.clear()
        self.memory_bytes = 0


def _measure(known: _Question, added: Mapping[bytes, Entry], now: float) -> None:
    """Drop what has ended, where a question was asked before, and say how large the rest is."""
    if len(known.entries) > len(added):
        known.entries = {key: each for key, each in known.entries.items() if each[0] > now}
    lists = sum([len(entry.scores) for _, entry in known.entries.values() if type(entry.scores) is list])
    known.size = QUESTION_BYTES + ENTRY_BYTES * len(known.entries) + RESULT_BYTES * lists
