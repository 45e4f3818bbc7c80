"""Measures are trec_eval's; intervals and tests do what they promise, on simulated data whose truth is known."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from itertools import pairwise

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.measures.agreement import kendall_tau, overlap
from evaluation.measures.calibration import bins, calibrate, expected_error, fit_isotonic, fit_platt
from evaluation.measures.quality import MEASURES, incoming, measure, oracle, reachable
from evaluation.measures.statistics import holm, intervals, randomisation_test
from tests.evaluation.tasks import make_task

TREC = {"nDCG@10": "ndcg_cut_10", "recall@10": "recall_10", "P@1": "P_1"}
DOCUMENTS = [f"d{number}" for number in range(30)]


@settings(max_examples=60, deadline=None)
@given(
    ranked=st.lists(st.permutations(DOCUMENTS).map(lambda ids: ids[: len(ids) // 2]), min_size=1, max_size=5),
    gains=st.lists(st.dictionaries(st.sampled_from(DOCUMENTS), st.integers(-1, 4), min_size=1), min_size=5, max_size=5),
)
def test_measures_equal_those_of_trec_eval(ranked: list[list[str]], gains: list[dict[str, int]]) -> None:
    orders = {f"q{number}": ids for number, ids in enumerate(ranked)}
    judgements = {query: gains[number] for number, query in enumerate(orders)}
    values = measure(make_task(orders, judgements), orders)
    evaluator = pytrec_eval.RelevanceEvaluator(judgements, {"ndcg_cut_10", "recall_10", "P_1", "recip_rank"})
    truth = evaluator.evaluate({query: {key: float(-n) for n, key in enumerate(ids)} for query, ids in orders.items()})
    for row, query in enumerate(orders):
        for column, name in enumerate(MEASURES):
            if name in TREC:
                assert values[row, column] == pytest.approx(truth[query][TREC[name]], abs=1e-9), name
            else:
                whole = truth[query]["recip_rank"]
                assert values[row, column] == pytest.approx(whole if whole >= 0.1 else 0.0, abs=1e-9), name


def test_a_query_without_a_ranking_counts_as_zero() -> None:
    task = make_task({"a": ["x", "y"], "b": ["x"]}, {"a": {"y": 1}, "b": {"x": 1}})
    assert measure(task, {"b": ["x"]}).tolist() == [[0, 0, 0, 0], [1, 1, 1, 1]]


def test_equal_scores_keep_our_order() -> None:
    task = make_task({"a": ["x", "z"]}, {"a": {"x": 1}})
    assert measure(task, {"a": ["x", "z"]})[0, 3] == 1
    assert measure(task, {"a": ["z", "x"]})[0, 3] == 0


def test_the_oracle_is_the_best_order_of_the_candidates() -> None:
    task = make_task({"a": ["x", "y", "z"], "b": ["x"]}, {"a": {"y": 1, "z": 3, "missed": 3}, "b": {"y": 1}})
    assert oracle(task) == {"a": ["z", "y", "x"], "b": ["x"]}
    values = measure(task, oracle(task)) - measure(task, incoming(task))
    assert (values >= 0).all()
    assert measure(task, oracle(task))[0, 0] < 1  # the first stage missed one
    assert reachable(task) == 1


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    generator = np.random.default_rng(3)
    truth, covered, rounds = 0.3, 0, 120
    for _ in range(rounds):
        (found,) = intervals(generator.beta(0.6, 1.4, (80, 1)))
        covered += found.low <= truth <= found.high
        assert found.low <= found.mean <= found.high
    assert 0.88 <= covered / rounds <= 0.99


def test_intervals_are_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(4).normal(0.5, 0.2, (400, 2))
    for found, column in zip(intervals(values), values.T, strict=True):
        assert found.high - found.low == pytest.approx(2 * 1.96 * column.std() / math.sqrt(400), rel=0.1)


def test_the_randomisation_test_errs_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    found = [randomisation_test(generator.normal(0, 1, 30)) for _ in range(200)]
    assert 0.01 <= np.mean([p < 0.05 for p in found]) <= 0.10
    assert 0.4 <= np.mean(found) <= 0.6


RANDOMISATION: dict[str, tuple[list[float], float, float]] = {
    "no difference": ([0.0] * 20, 1.0, 1.0),
    "exact with five": ([1.0] * 5, 2 / 32 - 0.01, 2 / 32 + 0.01),
    "exact with four and zeros": ([1.0, 1.0, 1.0, 1.0, 0.0, 0.0], 2 / 16 - 0.015, 2 / 16 + 0.015),
    "clear": ([0.1] * 60, 0.0, 0.001),
    "as many against": ([0.3, -0.3] * 10, 1.0, 1.0),
}


@pytest.mark.parametrize(("differences", "low", "high"), RANDOMISATION.values(), ids=RANDOMISATION)
def test_the_randomisation_test_of_known_cases(differences: list[float], low: float, high: float) -> None:
    assert low <= randomisation_test(np.array(differences)) <= high


HOLM: dict[str, tuple[list[float], list[float]]] = {
    "none": ([], []),
    "one": ([0.04], [0.04]),
    "textbook": ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
    "never above 1": ([0.9, 0.8], [1.0, 1.0]),
}


@pytest.mark.parametrize(("given", "corrected"), HOLM.values(), ids=HOLM)
def test_holm(given: list[float], corrected: list[float]) -> None:
    assert holm(given) == pytest.approx(corrected)


ALIKE: dict[str, tuple[str, str, float | None, float | None]] = {
    "the same": ("abcd", "abcd", 1.0, 1.0),
    "reversed": ("abcd", "dcba", -1.0, 1.0),
    "one swap": ("abcd", "bacd", 1 - 2 / 6, 1.0),
    "only what both have counts": ("axb", "ab", 1.0, 2 / 3),
    "nothing shared": ("ab", "cd", None, 0.0),
    "nothing at all": ("", "", None, None),
    "the first ten": ("abcdefghijk", "kabcdefghij", 1 - 2 * 10 / 55, 0.9),
}


@pytest.mark.parametrize(("one", "other", "tau", "shared"), ALIKE.values(), ids=ALIKE)
def test_agreement(one: str, other: str, tau: float | None, shared: float | None) -> None:
    assert kendall_tau(one, other) == (None if tau is None else pytest.approx(tau))
    assert overlap(one, other) == (None if shared is None else pytest.approx(shared))


def test_kendall_is_scipys_on_random_orders() -> None:
    from scipy.stats import kendalltau

    order = random.Random(1)
    for _ in range(20):
        one = list(range(12))
        other = order.sample(one, 12)
        truth = kendalltau(one, [other.index(key) for key in one]).statistic
        assert kendall_tau([str(key) for key in one], [str(key) for key in other]) == pytest.approx(truth)


def simulated(slope: float, intercept: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and whether each is relevant, with the probability that Platt's formula gives."""
    generator = np.random.default_rng(6)
    scores = generator.normal(0, 2, count)
    return scores, generator.random(count) < 1 / (1 + np.exp(-(slope * scores + intercept)))


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.4, -2.0), (-1.5, 1.0), (5.0, -4.0)])
def test_platt_finds_the_truth(slope: float, intercept: float) -> None:
    scores, relevant = simulated(slope, intercept)
    found = fit_platt(scores, relevant)
    assert found.slope == pytest.approx(slope, rel=0.1, abs=0.05)
    assert found.intercept == pytest.approx(intercept, rel=0.1, abs=0.06)
    assert expected_error(found.of(scores), relevant) < 0.02


def test_separable_scores_have_a_finite_calibration() -> None:
    scores = np.array([0.1] * 60 + [0.9] * 60)
    found = fit_platt(scores, scores > 0.5)
    assert math.isfinite(found.slope)
    assert found.of(np.array([0.9]))[0] > 0.9
    assert found.of(np.array([0.1]))[0] < 0.1


def test_the_expected_error_of_known_cases() -> None:
    half = np.array([True, False] * 50)
    assert expected_error(np.full(100, 0.5), half) == pytest.approx(0.0)
    assert expected_error(np.full(100, 1.0), half) == pytest.approx(0.5)
    assert [each.count for each in bins(np.array([0.0, 0.05, 1.0]), np.array([False, True, True]))] == [2, 1]


def test_isotonic_steps_never_fall_and_are_scipys() -> None:
    from scipy.optimize import isotonic_regression

    scores, relevant = simulated(1.0, 0.0, 60)
    steps = fit_isotonic(scores, relevant)
    assert all(low.score < high.score and low.probability < high.probability for low, high in pairwise(steps))
    truth = isotonic_regression(relevant[np.argsort(scores)].astype(float)).x
    assert len(set(np.round(truth, 9))) == len(steps) <= 12
    starts = [step.score for step in steps]
    found = [steps[bisect_right(starts, score) - 1].probability for score in np.sort(scores)]
    assert found == pytest.approx(list(truth))


def test_isotonic_takes_equal_scores_together() -> None:
    steps = fit_isotonic(np.array([1.0, 1.0, 0.0, 0.0]), np.array([True, False, False, False]))
    assert [(step.score, step.probability) for step in steps] == [(0.0, 0.0), (1.0, 0.5)]


TOO_FEW: dict[str, tuple[int, float]] = {"few": (10, 0.5), "all relevant": (200, 0.0), "none relevant": (200, 1.1)}


@pytest.mark.parametrize(("count", "threshold"), TOO_FEW.values(), ids=TOO_FEW)
def test_nothing_is_fitted_where_nothing_can_be(count: int, threshold: float) -> None:
    scores = np.linspace(0.01, 1, count)
    assert calibrate(scores, scores > threshold, np.arange(count)) is None


def test_calibration_errs_honestly_on_noise() -> None:
    generator = np.random.default_rng(7)
    scores, relevant = generator.random(4000), generator.random(4000) < 0.2
    found = calibrate(scores, relevant, np.arange(4000) // 20)
    assert found is not None
    assert found.error == pytest.approx(0.31, abs=0.05)  # the scores are spread over 0..1, the truth is 0.2
    assert found.platt_error < 0.03
