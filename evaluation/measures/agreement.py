"""How alike two rankings of the same candidates are, which needs no judgements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluation.measures.quality import CUTOFF


def kendall_tau(one: Sequence[str], other: Sequence[str]) -> float | None:
    """Kendall's tau over the documents that both rank: 1 for the same order, -1 for the opposite one.

    None with fewer than two such documents.
    """
    places = {key: place for place, key in enumerate(other)}
    shared = np.array([places[key] for key in one if key in places])
    count = len(shared)
    if count < 2:
        return None
    above = np.triu(np.ones((count, count), dtype=bool), 1)
    discordant = int(np.count_nonzero((shared[:, None] > shared[None, :]) & above))
    return 1 - 4 * discordant / (count * (count - 1))


def overlap(one: Sequence[str], other: Sequence[str]) -> float | None:
    """Which part of the first CUTOFF documents both have; None where there are none."""
    first, second = set(one[:CUTOFF]), set(other[:CUTOFF])
    size = max(len(first), len(second))
    return len(first & second) / size if size else None
