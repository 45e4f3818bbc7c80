"""Whichever form the data has, the same candidates come out; what is wrong with it is said with its file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.data.first_stage import Bm25
from evaluation.data.lists import read_lists
from evaluation.data.load import SAMPLE, Source, load, sample_folder
from evaluation.data.trec import read_judgements, read_run
from evaluation.errors import EvaluationError

Write = Callable[[str, Any], Path]
RUN = "q1 Q0 d2 1 3.0 x\nq1 Q0 d5 2 9.5 x\nq1 Q0 d0 3 3.0 x\nq2 Q0 d4 1 1 x\n"


def candidates(source: Source) -> dict[str, list[str]]:
    return {each.query_id: list(each.ids) for each in load(source).candidates}


def test_a_folder_gets_its_candidates_from_bm25(folder: Path) -> None:
    task = load(Source(data=str(folder)))
    found = {each.query_id: each.ids for each in task.candidates}
    assert found["q1"][0] == "d0"
    assert set(found["q1"]) == {"d0", "d1", "d2", "d5"}  # stems; none without a word of the query
    assert found["q2"] == ["d1"]
    assert task.judgements == {"q1": {"d0": 2, "d2": 1}, "q2": {"d1": 1}}
    assert task.texts["d1"] == "a red boat"


def test_a_run_gives_the_candidates_by_score_and_keeps_the_order_of_equal_ones(folder: Path, write: Write) -> None:
    run = write("some.run", RUN)
    assert candidates(Source(data=str(folder), run=str(run))) == {"q1": ["d5", "d2", "d0"], "q2": ["d4"]}
    assert candidates(Source(data=str(folder), run=str(run), top=1)) == {"q1": ["d5"], "q2": ["d4"]}


def test_a_run_alone_needs_no_texts(write: Write) -> None:
    run, qrels = write("a.run", RUN), write("qrels.txt", "q1 0 d0 1\nq3 0 d9 1\n")
    task = load(Source(run=str(run), judgements=str(qrels)))
    assert ([each.query_id for each in task.candidates], task.has_texts, task.left_out) == (["q1"], False, 1)


def test_a_run_with_texts_beside_it(write: Write) -> None:
    corpus = write("corpus.tsv", "".join(f"d{number}\ttext {number}\n" for number in range(6)))
    queries = write("queries.tsv", "q1\tred house\nq2\tboats\n")
    task = load(Source(run=str(write("a.run", RUN)), corpus=str(corpus), queries=str(queries)))
    assert task.judgements is None
    assert task.documents(task.candidates[0].ids) == ["text 5", "text 2", "text 0"]


ROWS = [
    {"query": "a", "documents": ["x", "y", " "], "relevant": [1]},
    {"query": "b", "id": 7, "documents": [{"id": "k", "text": "x", "title": "T"}, "z"], "relevant": {"k": 2, "1": 0}},
]


def test_lists_bring_everything_and_blank_documents_are_left_out(write: Write) -> None:
    task = load(Source(data=str(write("lists.jsonl", ROWS))))
    assert {each.query_id: list(each.ids) for each in task.candidates} == {"1": ["1/0", "1/1"], "7": ["k", "7/1"]}
    assert (task.judgements, task.blank) == ({"1": {"1/1": 1}, "7": {"k": 2, "7/1": 0}}, 1)
    assert task.texts["k"] == "T x"


def test_lists_without_relevant_are_not_judged(write: Write) -> None:
    rows = [{"query": "a", "documents": ["x", "y"]}]
    assert load(Source(data=str(write("lists.jsonl", rows)))).judgements is None


def test_lists_can_be_put_in_the_order_of_bm25(write: Write) -> None:
    rows = [{"query": "red boats", "documents": ["a sea", "a house", "one boat", "red boat"]}]
    file = str(write("lists.jsonl", rows))
    assert candidates(Source(data=file, first_stage="bm25")) == {"1": ["1/3", "1/2", "1/0", "1/1"]}


RELEVANT: dict[str, tuple[Any, dict[str, int]]] = {
    "positions": ([0, 2], {"1/0": 1, "1/2": 1}),
    "ids": (["k"], {"k": 1}),
    "gains by position": ({"0": 3}, {"1/0": 3}),
    "gains by id": ({"k": 3}, {"k": 3}),
    "an id that the first stage missed": (["elsewhere"], {"elsewhere": 1}),
    "an id that is a number": (["5"], {"5": 1}),
    "nothing": ([], {}),
}


@pytest.mark.parametrize(("relevant", "gains"), RELEVANT.values(), ids=RELEVANT)
def test_relevant_is_understood(relevant: Any, gains: dict[str, int], write: Write) -> None:
    documents = ["x", {"text": "y", "id": "k"}, "z", {"text": "w", "id": 5}]
    lists = read_lists(write("lists.jsonl", [{"query": "a", "documents": documents, "relevant": relevant}]))
    assert lists.judgements == {"1": gains}


REFUSED: dict[str, tuple[str, str]] = {
    "no JSON": ('{"query": "a", "documents": ["x"]}\nx\n', "line 2 is not JSON"),
    "a list": ("[1]\n", "line 1 is not a JSON object"),
    "no query": ('{"documents": []}\n', "line 1 needs `query`"),
    "a blank query": ('{"query": " ", "documents": []}\n', "line 1 needs `query`"),
    "a number as document": (
        '{"query": "a", "documents": ["x", 3]}\n',
        "line 1 has a document at position 1 that is neither",
    ),
    "a position too high": ('{"query": "a", "documents": ["x"], "relevant": [1]}\n', "position 1, but 1 documents"),
    "a position below": ('{"query": "a", "documents": ["x"], "relevant": [-1]}\n', "position -1, but 1 documents"),
    "flags": ('{"query": "a", "documents": ["x"], "relevant": [true]}\n', "`relevant` that is no list of positions"),
    "a fraction": ('{"query": "a", "documents": ["x"], "relevant": {"0": 0.5}}\n', "nor an object with whole numbers"),
    "one id twice": (
        '{"query": "a", "documents": [{"id": 1, "text": "x"}, {"id": "1", "text": "x"}]}\n',
        "two documents with the same id",
    ),
    "one id for two texts": (
        '{"query": "a", "documents": [{"id": 1, "text": "x"}]}\n'
        '{"query": "b", "documents": [{"id": 1, "text": "y"}]}\n',
        "line 2 has a document at position 0 whose id stands for another text",
    ),
    "one query id twice": (
        '{"query": "a", "id": 1, "documents": ["x"]}\n{"query": "b", "id": "1", "documents": ["x"]}\n',
        "line 2 has an `id` that an earlier line has",
    ),
    "nothing": ("\n\n", "is empty"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_list_is_refused_with_its_line(text: str, message: str, write: Write) -> None:
    with pytest.raises(EvaluationError) as refused:
        read_lists(write("lists.jsonl", text))
    assert message in refused.value.message


FILES: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "a run of five fields": (read_run, "q1 Q0 d1 1 0.5\n", "line 1 has not the six fields"),
    "a score that is none": (read_run, RUN + "q2 Q0 d9 1 high x\n", "line 5 has a score that is not a number"),
    "not a number": (read_run, "q2 Q0 d9 1 nan x\n", "line 1 has a score that is not a number"),
    "a document twice": (read_run, RUN + "q1 Q0 d2 9 1 x\n", "line 5 names a document that an earlier line"),
    "an empty run": (read_run, "", "is empty"),
    "qrels of two fields": (read_judgements, "q1 d1\n", "line 1 is neither"),
    "a gain that is none": (read_judgements, "q1 0 d1 1\nq1 0 d2 much\n", "line 2 is neither"),
    "titles alone": (read_judgements, "query-id\tcorpus-id\tscore\n", "has no judgements"),
}


@pytest.mark.parametrize(("read", "text", "message"), FILES.values(), ids=FILES)
def test_what_is_no_trec_file_is_refused(read: Callable[[Path], Any], text: str, message: str, write: Write) -> None:
    with pytest.raises(EvaluationError) as refused:
        read(write("file", text))
    assert message in refused.value.message


SOURCES: dict[str, tuple[dict[str, str], str]] = {
    "nothing": ({}, "there is nothing to evaluate"),
    "no such path": ({"data": "beir/nowhere"}, "there is no beir/nowhere"),
    "two first stages": ({"data": "beir", "run": "a.run", "first_stage": "bm25"}, "not both"),
    "an unknown split": ({"data": "beir", "split": "dev"}, "has no dev.tsv, but test"),
    "a run of unknown documents": (
        {"data": "beir", "run": "b.run"},
        "1 of the documents of the run b.run are not in the corpus",
    ),
    "qrels of other queries": ({"data": "beir", "judgements": "other.txt"}, "do the ids of both files agree?"),
    "a run beside lists": ({"data": "lists.jsonl", "run": "a.run"}, "leave --run, --qrels and --split out"),
    "a split of lists": ({"data": "lists.jsonl", "split": "test"}, "leave --run, --qrels and --split out"),
    "texts beside a folder": ({"data": "beir", "corpus": "c.tsv"}, "--corpus and --queries are for --run without"),
    "a binary file": ({"data": "picture.jsonl"}, "is not UTF-8 text"),
}


@pytest.mark.parametrize(("fields", "message"), SOURCES.values(), ids=SOURCES)
def test_a_source_that_cannot_be_used_says_why(
    fields: dict[str, str], message: str, folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a.run", RUN)
    write("b.run", "q1 Q0 missing 1 1 x\n")
    write("other.txt", "z9 0 d1 1\n")
    write("lists.jsonl", ROWS)
    (folder.parent / "picture.jsonl").write_bytes(b"\xff\xd8\n")
    monkeypatch.chdir(folder.parent)
    with pytest.raises(EvaluationError) as refused:
        load(Source(**fields))
    assert message in refused.value.message


def test_a_sample_is_drawn_in_order_and_the_seed_decides(write: Write) -> None:
    rows = [{"query": f"q{n}", "id": n, "documents": ["x"], "relevant": [0]} for n in range(50)]
    file = str(write("lists.jsonl", rows))
    first, again, other = (list(candidates(Source(data=file, sample=9, seed=seed))) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 9
    assert first == sorted(first, key=int)
    assert len(candidates(Source(data=file, sample=500))) == 50


def test_queries_without_anything_relevant_are_left_out_and_counted(write: Write) -> None:
    rows = [{"query": "a", "documents": ["x"], "relevant": [0]}, {"query": "b", "documents": ["x"], "relevant": []}]
    task = load(Source(data=str(write("lists.jsonl", rows))))
    assert ([each.query_id for each in task.candidates], task.left_out) == (["1"], 1)


WORDLESS = {"no words at all": {"a": "!!!", "b": "the"}, "nothing": {}}


@pytest.mark.parametrize("texts", WORDLESS.values(), ids=WORDLESS)
def test_bm25_finds_nothing_where_there_are_no_words(texts: dict[str, str]) -> None:
    assert Bm25(texts).best(["the", "zebra", ""], 5) == [[], [], []]


def test_digests_tell_which_part_differs(folder: Path, write: Write) -> None:
    run = str(write("a.run", RUN))
    one, other = (load(Source(data=str(folder), run=run, top=top)).digests() for top in (3, 1))
    assert {name for name in one if one[name] != other[name]} == {"candidates", "documents"}


def test_the_sample_collection_leaves_something_to_win() -> None:
    task = load(Source(data=SAMPLE))
    assert len(task.candidates) == 30
    assert len((sample_folder() / "corpus.jsonl").read_text("utf-8").splitlines()) == 150
    assert all(each.ids for each in task.candidates)
    judged = {key for gains in (task.judgements or {}).values() for key in gains}
    assert judged <= {f"d{number:03}" for number in range(1, 151)}
