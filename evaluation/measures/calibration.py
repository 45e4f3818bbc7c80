"""Whether scores are probabilities, and what makes them such.

Sources: Guo et al.: On calibration of modern neural networks (2017), for the expected calibration error; Platt:
Probabilistic outputs for support vector machines (1999); Lin, Weng: A note on Platt's probabilistic outputs (2007), for
its targets; Zadrozny, Elkan: Transforming classifier scores into accurate multiclass probability estimates (2002), for
isotonic regression.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

BINS = 10
MAX_STEPS = 12
"""How many steps of an isotonic calibration are kept."""

MIN_PAIRS = 50
"""Below so many scores, or without both relevant and other documents, nothing is fitted."""

_MAX_ITERATIONS = 100

Vector = NDArray[np.float64]


class Bin(Struct, frozen=True):
    """Documents whose score lies in one interval: how many, their mean score, and which part is relevant."""

    count: int
    score: float
    relevant: float


class Platt(Struct, frozen=True):
    """probability = 1 / (1 + exp(-(slope * score + intercept)))"""

    slope: float
    intercept: float

    def of(self, scores: Vector) -> Vector:
        """The probabilities of scores."""
        return _sigmoid(self.slope * scores + self.intercept)


class Step(Struct, frozen=True):
    """From this score on, up to the next step, the probability is this."""

    score: float
    probability: float


class Calibration(Struct, frozen=True, kw_only=True):
    """How well scores are calibrated, and a calibration.

    Attributes:
        documents: how many scores it was made from.
        error: the expected calibration error of the scores as they are; None if they are not from 0 to 1.
        bins: of the scores as they are; empty with `error` None.
        platt: fitted on all queries.
        platt_error: the error to expect with Platt's calibration, which is fitted on half of the queries and measured
            on the others.
        platt_bins: of those probabilities.
        isotonic: fitted on all queries; it needs more data than Platt's.
    """

    documents: int
    error: float | None
    bins: list[Bin]
    platt: Platt
    platt_error: float
    platt_bins: list[Bin]
    isotonic: list[Step]


def calibrate(scores: Vector, relevant: NDArray[np.bool_], queries: NDArray[np.int64]) -> Calibration | None:
    """Measure and fit.

    Args:
        scores: of documents, of all queries.
        relevant: whether each is judged relevant; those without a judgement are not.
        queries: the number of the query of each, for halves that share no query.

    Returns:
        None if there are too few to say anything.
    """
    if len(scores) < MIN_PAIRS or relevant.all() or not relevant.any():
        return None
    even = queries % 2 == 0
    held_out = np.empty(len(scores))
    for half in (even, ~even):
        if not half.any() or half.all():
            return None
        held_out[~half] = fit_platt(scores[half], relevant[half]).of(scores[~half])
    is_probability = bool(scores.min() >= 0 and scores.max() <= 1)
    return Calibration(
        documents=len(scores),
        error=expected_error(scores, relevant) if is_probability else None,
        bins=bins(scores, relevant) if is_probability else [],
        platt=fit_platt(scores, relevant),
        platt_error=expected_error(held_out, relevant),
        platt_bins=bins(held_out, relevant),
        isotonic=fit_isotonic(scores, relevant),
    )


def bins(probabilities: Vector, relevant: NDArray[np.bool_]) -> list[Bin]:
    """BINS intervals of equal width from 0 to 1; those without a document are left out."""
    places = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    return [
        Bin(int(chosen.sum()), float(probabilities[chosen].mean()), float(relevant[chosen].mean()))
        for number in range(BINS)
        if (chosen := places == number).any()
    ]


def expected_error(probabilities: Vector, relevant: NDArray[np.bool_]) -> float:
    """The expected calibration error: how far score and frequency are apart, on average over the documents."""
    return sum(each.count * abs(each.score - each.relevant) for each in bins(probabilities, relevant)) / len(relevant)


def fit_platt(scores: Vector, relevant: NDArray[np.bool_]) -> Platt:
    """Logistic regression by Newton's method, on scores that are first brought to mean 0 and deviation 1."""
    positive, negative = int(relevant.sum()), int((~relevant).sum())
    targets = np.where(relevant, (positive + 1) / (positive + 2), 1 / (negative + 2))
    center, width = float(scores.mean()), float(scores.std()) or 1.0
    design = np.column_stack([(scores - center) / width, np.ones(len(scores))])
    weights = np.array([0.0, np.log((positive + 1) / (negative + 1))])
    for _ in range(_MAX_ITERATIONS):
        probabilities = _sigmoid(design @ weights)
        spread = probabilities * (1 - probabilities)
        hessian = design.T @ (design * spread[:, None]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, design.T @ (targets - probabilities))
        weights = weights + np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-10:
            break
    slope = float(weights[0]) / width
    return Platt(slope, float(weights[1]) - slope * center)


def fit_isotonic(scores: Vector, relevant: NDArray[np.bool_]) -> list[Step]:
    """Steps that never fall, by pooling adjacent violators; neighbours that differ least are joined to MAX_STEPS."""
    order = np.argsort(scores, kind="stable")
    blocks: list[list[float]] = []  # lowest score, sum, count
    for score, value in zip(scores[order].tolist(), relevant[order].tolist(), strict=True):
        if blocks and blocks[-1][0] == score:
            blocks[-1][1] += value
            blocks[-1][2] += 1
        else:
            _pool(blocks)
            blocks.append([score, float(value), 1.0])
    _pool(blocks)
    while len(blocks) > MAX_STEPS:
        gaps = [_mean(after) - _mean(before) for before, after in pairwise(blocks)]
        _join(blocks, int(np.argmin(gaps)))
    return [Step(block[0], _mean(block)) for block in blocks]


def _pool(blocks: list[list[float]]) -> None:
    while len(blocks) > 1 and _mean(blocks[-2]) >= _mean(blocks[-1]):
        _join(blocks, len(blocks) - 2)


def _join(blocks: list[list[float]], number: int) -> None:
    _, value, count = blocks.pop(number + 1)
    blocks[number][1] += value
    blocks[number][2] += count


def _mean(block: list[float]) -> float:
    return block[1] / block[2]


def _sigmoid(logits: Vector) -> Vector:
    probabilities: Vector = 1 / (1 + np.exp(-np.clip(logits, -500, 500)))
    return probabilities
