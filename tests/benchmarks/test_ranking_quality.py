"""The figures that `benchmarks/cranfield.py` and `relevance.py` print are right: against values worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks.cranfield import Bm25, evaluate, ndcg, read
from benchmarks.relevance import randomisation_p, read_run

JUDGED = {"a": 3, "b": 2, "c": 0, "d": -1}
IDEAL = 3 + 2 / math.log2(3)
FIGURES: dict[str, tuple[list[str], float]] = {
    "the ideal": (["a", "b"], 1.0),
    "the other way round": (["b", "a"], (2 + 3 / math.log2(3)) / IDEAL),
    "one too late": (["x", "a"], (3 / math.log2(3)) / IDEAL),
    "beyond the tenth": ([*"0123456789", "a"], 0.0),
    "nothing": ([], 0.0),
    "judged worthless": (["c", "d", "a"], (3 / math.log2(4)) / IDEAL),
}


@pytest.mark.parametrize(("ranked", "expected"), FIGURES.values(), ids=FIGURES)
def test_ndcg(ranked: list[str], expected: float) -> None:
    assert ndcg(ranked, JUDGED) == pytest.approx(expected)


def test_ndcg_of_a_query_without_judgements_is_0() -> None:
    assert ndcg(["a"], {}) == 0.0


def test_bm25_prefers_rare_words_and_short_texts() -> None:
    index = Bm25({"long": "wing " + "air " * 20, "short": "Wing, air.", "none": "heat", "air": "air"})
    assert index.best("wing", 9) == ["short", "long"]
    assert index.best("air wing", 1) == ["short"]
    assert index.best("nothing of it", 9) == []


def test_the_whole_way_through_a_gateway(start_gateway, upstream, tmp_path: Path) -> None:
    files = {
        "corpus.jsonl": [
            {"_id": "d1", "title": "air air air", "text": ""},
            {"_id": "d2", "title": "", "text": "air over a wing"},
            {"_id": "d3", "title": "", "text": ""},
        ],
        "queries.jsonl": [{"_id": "q1", "text": "air"}, {"_id": "q2", "text": "air"}],
    }
    for name, rows in files.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td2\t4\n", encoding="utf-8")
    gateway = start_gateway({"providers": {"cohere": {"base_url": upstream.url}}})
    gateway.wait_until_ready()
    upstream.reply_with(200, {"results": [{"index": 1, "relevance_score": 2}, {"index": 0, "relevance_score": 1}]})
    pairs = list(evaluate(read(tmp_path), gateway.url, "cohere/m", 1, 50))
    assert pairs == [(pytest.approx(1 / math.log2(3)), 1.0)]
    assert upstream.requests[0].body["documents"] == ["air air air", "air over a wing"]


P_VALUES: dict[str, tuple[list[float], float, float]] = {
    "no difference": ([0.0] * 20, 1.0, 1.0),
    "nothing to compare": ([], 1.0, 1.0),
    "one query alone": ([0.3], 1.0, 1.0),
    "always better by as much": ([0.1] * 20, 0.0, 0.0005),
    "always worse by as much": ([-0.1] * 20, 0.0, 0.0005),
    "two of eight signs": ([0.1, 0.1, 0.1], 0.23, 0.27),
    "as often better as worse": ([0.1, -0.1] * 10, 1.0, 1.0),
}


@pytest.mark.parametrize(("differences", "least", "most"), P_VALUES.values(), ids=P_VALUES)
def test_the_p_of_paired_differences(differences: list[float], least: float, most: float) -> None:
    assert least <= randomisation_p(differences) <= most


def test_a_run_of_another_search_is_read_by_its_ranks() -> None:
    lines = ["q1 Q0 b 2 1.5 engine", "q1\tQ0\ta\t1\t2.5\tengine", "q2 Q0 c 1 9 engine", "q1 Q0 d 10 0.1 engine"]
    assert read_run(lines, 2) == {"q1": ["a", "b"], "q2": ["c"]}
