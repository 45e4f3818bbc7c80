"""Small tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evaluation.data.task import Candidates, Task


def make_task(
    candidates: Mapping[str, Sequence[str]], judgements: Mapping[str, Mapping[str, int]] | None = None
) -> Task:
    """A task of these candidates; each document's text is its id."""
    return Task(
        name="made",
        first_stage="by hand",
        candidates=[Candidates(query, f"query {query}", ids) for query, ids in candidates.items()],
        texts={key: f"text {key}" for ids in candidates.values() for key in ids},
        judgements=judgements,
    )
