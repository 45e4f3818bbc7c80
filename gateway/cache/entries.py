"""What is kept of an answer: scores, never texts; and where it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from providers.types import ScoreSpace


class Entry(Struct, frozen=True, array_like=True, gc=False):
    """What a target gave for one document, or for one list of documents.

    Attributes:
        scores: of one document its score; of a list an index and a score for each result, best first.
        space: what the scores are.
        tokens, cost: what they took: a document's share of its call, in US dollars; None where it is unknown.
    """

    scores: float | list[tuple[int, float]]
    space: ScoreSpace
    tokens: float | None = None
    cost: float | None = None


class EntryStore(Protocol):
    """Where entries are kept, by the digest of the question, and of what they answer."""

    @property
    def is_local(self) -> bool:
        """Whether no other process reads it, nor this one after a restart."""
        ...

    @property
    def memory_bytes(self) -> int:
        """Memory of this process that they take."""
        ...

    @property
    def failures(self) -> int:
        """How often its server could not be asked."""
        ...

    async def find(self, question: bytes, keys: Sequence[bytes], seconds: float | None = None) -> dict[bytes, Entry]:
        """What is known of these keys of a question. Never raises: what cannot be read in time is not there.

        Args:
            question, keys: digests.
            seconds: the longest time that a server is asked for; None leaves it at the store's own time limits.
        """
        ...

    def keep(self, question: bytes, entries: Mapping[bytes, Entry]) -> None:
        """Add entries, or replace them. Returns at once, and never raises."""
        ...

    async def aclose(self) -> None:
        """Release what it holds."""
        ...
