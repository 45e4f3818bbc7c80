"""What models are measured on: every query with its candidates, and the judgements."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

Judgements = Mapping[str, Mapping[str, int]]
"""The gain of each judged document, by query id and document id. 0 and less are not relevant."""


class Candidates(Struct, frozen=True):
    """One query, and what is to be ranked for it.

    Attributes:
        query_id: as the files name it.
        query: its text; "" where only a run and judgements were given.
        ids: of the documents, in the incoming order, best first; none is blank, and each is named once.
    """

    query_id: str
    query: str
    ids: Sequence[str]


class Task(Struct, frozen=True, kw_only=True):
    """What models are measured on.

    Attributes:
        name: of the data, for people.
        first_stage: where the candidates and their order come from.
        candidates: by query, in the order in which the files have them.
        texts: of the documents, by id; empty where only a run and judgements were given.
        judgements: of these queries; None where nothing is judged.
        blank: how many candidates were left out since their text is blank, which no reranker takes.
        left_out: queries that were left out since nothing is known to be relevant to them.
    """

    name: str
    first_stage: str
    candidates: Sequence[Candidates]
    texts: Mapping[str, str]
    judgements: Judgements | None
    blank: int = 0
    left_out: int = 0

    @property
    def has_texts(self) -> bool:
        """Whether models can be asked."""
        return bool(self.texts)

    def gains(self, query_id: str) -> Mapping[str, int]:
        """What is judged for that query."""
        return (self.judgements or {}).get(query_id, {})

    def documents(self, ids: Iterable[str]) -> list[str]:
        """Their texts, in that order."""
        return [self.texts[key] for key in ids]

    def digests(self) -> dict[str, str]:
        """A digest of each part, by its name: two evaluations can be compared if all are equal."""
        known = {key: self.texts.get(key, "") for each in self.candidates for key in each.ids}
        return {
            "queries": _digest([each.query_id, each.query] for each in self.candidates),
            "candidates": _digest([each.query_id, *each.ids] for each in self.candidates),
            "documents": _digest(sorted(known.items())),
            "judgements": _digest(
                [each.query_id, sorted(self.gains(each.query_id).items())] for each in self.candidates
            ),
        }


def _digest(rows: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()[:16]
