"""From the user's files to a task: whichever form they have, the same candidates come out."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from evaluation.data import trec
from evaluation.data.files import read_texts
from evaluation.data.first_stage import DESCRIPTION, Bm25
from evaluation.data.lists import read_lists
from evaluation.data.task import Candidates, Judgements, Task
from evaluation.errors import EvaluationError

SAMPLE = "sample"
"""What stands for the collection that comes with this package, as the name of the data."""


class Source(Struct, frozen=True, kw_only=True):
    """Where the data is.

    Attributes:
        data: a folder in BEIR's layout, or a file in JSON Lines; None with `run` alone.
        run, judgements: files of TREC.
        corpus, queries: texts for a run without a folder.
        split: which file of a folder's `qrels`; None for the only one, else `test`.
        first_stage: `bm25`, or None for the order that the data has.
        top: how many candidates each query has at most.
        sample: how many queries to draw; None for all.
        seed: of the drawing.
    """

    data: str | None = None
    run: str | None = None
    judgements: str | None = None
    corpus: str | None = None
    queries: str | None = None
    split: str | None = None
    first_stage: str | None = None
    top: int = 50
    sample: int | None = None
    seed: int = 1


class _Read(Struct, kw_only=True):
    """What was read: texts, and the candidates in their order where the data has one."""

    name: str
    queries: Mapping[str, str]
    texts: Mapping[str, str]
    judgements: Judgements | None
    order: Mapping[str, Sequence[str]] | None
    order_name: str = "the order given"


def load(source: Source) -> Task:
    """Read the data and find the candidates. Raises EvaluationError."""
    read = _read(source)
    chosen, left_out = _choose(read, source)
    read.queries = chosen
    task = _with_bm25(read, source) if _needs_bm25(read, source) else _as_given(read, source)
    return replace(_without_blank(task), left_out=left_out)


def sample_folder() -> Path:
    """The collection that comes with this package, in BEIR's layout."""
    return Path(str(files("evaluation") / "sample"))


def _read(source: Source) -> _Read:
    path = None if source.data is None else sample_folder() if source.data == SAMPLE else Path(source.data)
    if path is None:
        return _read_run_alone(source)
    if source.corpus or source.queries:
        raise EvaluationError("--corpus and --queries are for --run without --data, which has its own texts")
    if path.is_dir():
        return _read_folder(path, source)
    if not path.exists():
        raise EvaluationError(f"there is no {path}")
    if source.run or source.judgements or source.split:
        raise EvaluationError(f"{path} holds its own candidates and judgements; leave --run, --qrels and --split out")
    lists = read_lists(path)
    order = {each.query_id: each.ids for each in lists.candidates}
    queries = {each.query_id: each.query for each in lists.candidates}
    return _Read(name=path.name, queries=queries, texts=lists.texts, judgements=lists.judgements, order=order)


def _read_folder(folder: Path, source: Source) -> _Read:
    return _Read(
        name="the sample collection" if source.data == SAMPLE else folder.resolve().name,
        queries=read_texts(folder / "queries.jsonl"),
        texts=read_texts(folder / "corpus.jsonl"),
        judgements=_judgements(folder, source),
        order=trec.read_run(Path(source.run)) if source.run else None,
        order_name=_run_name(source.run),
    )


def _read_run_alone(source: Source) -> _Read:
    if source.run is None:
        raise EvaluationError("there is nothing to evaluate: give --data, --run or --sample-data")
    order = trec.read_run(Path(source.run))
    return _Read(
        name=Path(source.run).name,
        queries=read_texts(Path(source.queries)) if source.queries else dict.fromkeys(order, ""),
        texts=read_texts(Path(source.corpus)) if source.corpus else {},
        judgements=trec.read_judgements(Path(source.judgements)) if source.judgements else None,
        order=order,
        order_name=_run_name(source.run),
    )


def _run_name(run: str | None) -> str:
    return f"the run {Path(run).name}" if run else ""


def _judgements(folder: Path, source: Source) -> Judgements | None:
    if source.judgements:
        return trec.read_judgements(Path(source.judgements))
    splits = {file.stem: file for file in sorted((folder / "qrels").glob("*.tsv"))}
    if not splits and source.split is None:
        return None
    name = source.split or (next(iter(splits)) if len(splits) == 1 else "test")
    if name not in splits:
        known = ", ".join(splits) or "nothing"
        raise EvaluationError(f"{folder}/qrels has no {name}.tsv, but {known}; choose by --split")
    return trec.read_judgements(splits[name])


def _choose(read: _Read, source: Source) -> tuple[dict[str, str], int]:
    """The queries to use, in their order, and how many were left out since nothing is relevant to them."""
    names = list(read.queries)
    if read.judgements is not None:
        judged = {query for query, gains in read.judgements.items() if any(gain > 0 for gain in gains.values())}
        names = [name for name in names if name in judged]
        if not names:
            raise EvaluationError("no query has a document that is judged relevant; do the ids of both files agree?")
    left_out = len(read.queries) - len(names)
    if source.sample is not None and source.sample < len(names):
        drawn = set(random.Random(source.seed).sample(names, source.sample))
        names = [name for name in names if name in drawn]
    return {name: read.queries[name] for name in names}, left_out


def _needs_bm25(read: _Read, source: Source) -> bool:
    if source.first_stage == "bm25" and source.run:
        raise EvaluationError("give --run or --first-stage bm25, not both: each makes the candidates")
    return read.order is None or source.first_stage == "bm25"


def _with_bm25(read: _Read, source: Source) -> Task:
    texts = {key: text for key, text in read.texts.items() if text.strip()}
    if not texts:
        raise EvaluationError("every document of the corpus is blank")
    if read.order is not None:
        best = [_order_own(read.texts, read.order[key], query) for key, query in read.queries.items()]
    else:
        best = Bm25(texts).best(list(read.queries.values()), source.top)
    pairs = zip(read.queries.items(), best, strict=True)
    return _task(read, [Candidates(key, query, ids[: source.top]) for (key, query), ids in pairs], DESCRIPTION)


def _order_own(texts: Mapping[str, str], ids: Sequence[str], query: str) -> list[str]:
    """A query's own documents by BM25 among themselves; those that share no word with it come last, in their order."""
    own = {key: texts[key] for key in ids if texts[key].strip()}
    (best,) = Bm25(own).best([query], len(own)) if own else ([],)
    return [*best, *(key for key in ids if key not in set(best))]


def _as_given(read: _Read, source: Source) -> Task:
    order = read.order or {}
    unknown = {key for ids in order.values() for key in ids} - read.texts.keys() if read.texts else set()
    if unknown:
        raise EvaluationError(f"{len(unknown)} of the documents of {read.order_name} are not in the corpus")
    candidates = [Candidates(key, query, order.get(key, ())[: source.top]) for key, query in read.queries.items()]
    return _task(read, candidates, read.order_name)


def _task(read: _Read, candidates: list[Candidates], first_stage: str) -> Task:
    if not any(each.ids for each in candidates):
        raise EvaluationError("no query has a candidate; do the ids of the files agree?")
    judgements = read.judgements
    if judgements is not None:
        judgements = {each.query_id: judgements[each.query_id] for each in candidates}
    used = {key: read.texts[key] for each in candidates for key in each.ids} if read.texts else {}
    return Task(name=read.name, first_stage=first_stage, candidates=candidates, texts=used, judgements=judgements)


def _without_blank(task: Task) -> Task:
    blank = {key for key, text in task.texts.items() if not text.strip()}
    if not blank:
        return task
    kept = [replace(each, ids=[key for key in each.ids if key not in blank]) for each in task.candidates]
    count = sum(len(old.ids) - len(new.ids) for old, new in zip(task.candidates, kept, strict=True))
    return replace(task, candidates=kept, blank=count)
