"""What can be concluded from so many queries: intervals, and tests that account for how many were made.

Sources: Smucker, Allan, Carterette: A comparison of statistical significance tests for information retrieval evaluation
(CIKM 2007), for the paired randomisation test; Efron, Tibshirani: An introduction to the bootstrap (1993), for
percentile intervals; Holm: A simple sequentially rejective multiple test procedure (1979).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 2000
PERMUTATIONS = 10_000
SEED = 19
"""Of all random draws, so that the same answers give the same report."""

_CELLS = 4_000_000
"""How many random numbers are held at once."""

Vector = NDArray[np.float64]


class Interval(Struct, frozen=True):
    """A mean and where it may lie, with CONFIDENCE."""

    mean: float
    low: float
    high: float


def intervals(values: NDArray[np.float64]) -> list[Interval]:
    """The mean of each column, with its percentile bootstrap interval over the rows, which are queries."""
    count, columns = values.shape
    means = np.empty((RESAMPLES, columns))
    generator = np.random.default_rng(SEED)
    for number in range(RESAMPLES):
        # How often each query was drawn, which is cheaper than to copy the rows.
        weights = np.bincount(generator.integers(0, count, count), minlength=count)
        means[number] = weights @ values / count
    tail = (1 - CONFIDENCE) / 2 * 100
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    averages = values.mean(axis=0)
    return [Interval(float(averages[c]), float(low[c]), float(high[c])) for c in range(columns)]


def randomisation_test(differences: Vector) -> float:
    """The probability of a mean difference this large if each query's difference might as well have the other sign.

    Two-sided; never 0, since only PERMUTATIONS of the signs are tried.
    """
    nonzero = differences[np.abs(differences) > 1e-12]
    if not len(nonzero):
        return 1.0
    observed = abs(nonzero.sum())
    generator = np.random.default_rng(SEED)
    extreme, left = 0, PERMUTATIONS
    while left:
        rows = min(left, max(1, _CELLS // len(nonzero)))
        signs = generator.integers(0, 2, (rows, len(nonzero)), dtype=np.int8) * 2.0 - 1.0
        extreme += int(np.count_nonzero(np.abs(signs @ nonzero) >= observed - 1e-9))
        left -= rows
    return (extreme + 1) / (PERMUTATIONS + 1)


def holm(probabilities: Sequence[float]) -> list[float]:
    """The probabilities, each corrected for how many tests were made; in the same order."""
    order = sorted(range(len(probabilities)), key=lambda number: probabilities[number])
    corrected, largest = [0.0] * len(order), 0.0
    for place, number in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * probabilities[number]))
        corrected[number] = largest
    return corrected
