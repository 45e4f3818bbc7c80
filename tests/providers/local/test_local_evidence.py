"""The passage of each document that decided: how documents are divided, and which passage a model takes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import bert, embedder, engine, qwen, request, scores, text

from providers.local import engine as engine_module
from providers.local.evidence import (
    MAX_DOCUMENTS,
    MAX_PASSAGES,
    RESOLUTION,
    find_passages,
    read_to,
    split,
)
from providers.types import Ranked, Ranking, Span

Build = Callable[..., Path]

LONG = "This is the first sentence, which is long enough."
OTHER = "Here comes another one, and it is as long as that."
DIVIDED: dict[str, tuple[str, list[str]]] = {
    "one sentence": (LONG, [LONG]),
    "two": (f"{LONG} {OTHER}", [LONG, OTHER]),
    "white space around": (f"  \n{LONG} \t {OTHER}\n\n", [LONG, OTHER]),
    "questions and exclamations": (f"{LONG[:-1]}? {OTHER[:-1]}!", [f"{LONG[:-1]}?", f"{OTHER[:-1]}!"]),
    "quotes end with their sentence": (f'"{LONG}" {OTHER}', [f'"{LONG}"', OTHER]),
    "lines": (f"{LONG[:-1]}\n{OTHER[:-1]}", [LONG[:-1], OTHER[:-1]]),
    "a heading goes with what follows": (f"Fig. 3\n{LONG} {OTHER}", [f"Fig. 3\n{LONG}", OTHER]),
    "a short end goes with what is before": (f"{LONG} {OTHER} So.", [LONG, f"{OTHER} So."]),
    "a number has no end in it": (f"Version 3.14 of it is much longer than that. {LONG}",
                                  ["Version 3.14 of it is much longer than that.", LONG]),
    "Chinese": ("这" * 50 + "。" + "那" * 50 + "。", ["这" * 50 + "。", "那" * 50 + "。"]),
    "nothing but white space": (" \n ", []),
    "nothing": ("", []),
    "a word that never ends": ("a" * 900, ["a" * 400, "a" * 400, "a" * 100]),
    "words that never end": ("word " * 200, [("word " * 80).strip(), ("word " * 80).strip(), ("word " * 40).strip()]),
}  # fmt: skip


@pytest.mark.parametrize(("document", "passages"), DIVIDED.values(), ids=DIVIDED)
def test_a_document_is_divided_where_sentences_end(document: str, passages: list[str]) -> None:
    assert [document[start:end] for start, end in split(document, len(document))] == passages


TEXTS = st.text(st.sampled_from("ab .!?\n。é\u0301\u200d\ud83d\udc00中") | st.characters(), max_size=300)
LONG_TEXTS = st.builds(lambda part, times: part * times, TEXTS, st.integers(1, 60))


@settings(max_examples=300, deadline=None)
@given(document=LONG_TEXTS, data=st.data())
def test_passages_are_in_order_and_lose_nothing_but_white_space(document: str, data: Any) -> None:
    end = data.draw(st.integers(0, len(document)))
    passages = split(document, end)
    assert len(passages) <= MAX_PASSAGES + 1
    places = [0, *itertools.chain.from_iterable(passages), end]
    assert places == sorted(places)
    between = zip(places[::2], places[1::2], strict=True)
    assert all(document[start:stop].isspace() or start == stop for start, stop in between)
    for start, stop in passages:
        passage = document[start:stop]
        assert passage
        assert passage == passage.strip()


@settings(max_examples=200, deadline=None)
@given(document=st.text(max_size=500), limit=st.integers(0, 600))
def test_how_far_a_model_reads_is_found(document: str, limit: int) -> None:
    calls = []

    def is_read_whole(beginning: str) -> bool:
        calls.append(beginning)
        return len(beginning) <= limit

    found = read_to(document, is_read_whole)
    assert found <= max(limit, RESOLUTION)
    assert found == len(document) or found >= min(limit, len(document)) - RESOLUTION
    assert len(calls) <= 12


def test_a_cut_is_never_between_a_letter_and_its_marks() -> None:
    document = "e\u0301" * 1000
    assert all(document[start] == "e" for start, _ in split(document, len(document)))


def test_only_the_best_documents_are_looked_into() -> None:
    documents = [f"{LONG} {OTHER}"] * (MAX_DOCUMENTS + 10)
    results = [Ranked(index, -index) for index in range(len(documents))]
    found = find_passages(results, documents, len)
    assert len(found.texts) == 2 * MAX_DOCUMENTS
    spans = found.spans([float(n % 2) for n in range(len(found.texts))])
    assert spans.keys() == set(range(MAX_DOCUMENTS))
    assert spans[3] == [Span(len(LONG) + 1, len(LONG) + 1 + len(OTHER), 1.0)]


def test_of_equal_passages_the_first_one_is_it() -> None:
    found = find_passages([Ranked(0, 0.5)], [f"{LONG} {LONG}"], len)
    assert found.spans([0.7, 0.7]) == {0: [Span(0, len(LONG), 0.7)]}


def sentences(seed: int, count: int) -> str:
    return " ".join(f"{text(9, seed * 100 + number).capitalize()}." for number in range(count))


DOCUMENTS = [sentences(seed, count) for seed, count in enumerate([1, 2, 4, 3, 6])]
MODELS = {
    "a cross-encoder": (bert, {}),
    "an embedding model": (embedder, {}),
    "a model with a template": (qwen, {}),
    "long documents in windows": (bert, {"long_documents": "chunk_max", "max_length": 48}),
    "with the words": (bert, {"lexical": 1.0}),
}


@pytest.mark.parametrize("case", MODELS)
async def test_the_span_is_the_passage_that_the_model_scores_highest(build: Build, case: str) -> None:
    maker, options = MODELS[case]
    async with engine(build(maker), **options) as backend:
        plain = await backend.rerank(request(documents=DOCUMENTS))
        ranking = await backend.rerank(request(documents=DOCUMENTS, return_spans=True))
        assert scores(ranking) == pytest.approx(scores(plain), abs=1e-6)
        assert plain.spans is None
        assert ranking.spans is not None
        assert ranking.spans.keys() == set(range(len(DOCUMENTS)))
        for index, document in enumerate(DOCUMENTS):
            passages = split(document, len(document))
            alone = scores(await backend.rerank(request(documents=[document[a:b] for a, b in passages])))
            (span,) = ranking.spans[index]
            if len(passages) > 1:
                assert span.score == pytest.approx(max(alone), abs=1e-5)
            assert (span.start, span.end) in passages


def tokens(ranking: Ranking) -> int:
    assert ranking.usage is not None
    assert ranking.usage.total_tokens == ranking.usage.prompt_tokens
    return ranking.usage.prompt_tokens or 0


async def test_only_what_is_returned_is_looked_into_and_is_counted(build: Build) -> None:
    async with engine(build(bert)) as backend:
        plain = await backend.rerank(request(documents=DOCUMENTS))
        one = await backend.rerank(request(documents=DOCUMENTS, return_spans=True, top_n=1))
        every = await backend.rerank(request(documents=DOCUMENTS, return_spans=True))
        best = max(plain.results, key=lambda row: row.relevance_score).index
        assert one.spans is not None
        assert list(one.spans) == [best]
        assert len(one.results) == len(DOCUMENTS)  # the gateway cuts
        assert tokens(plain) < tokens(one) < tokens(every)
        assert "spans_ms" in (one.details or {})
        assert "spans_ms" not in (plain.details or {})


@pytest.mark.parametrize("maker", [bert, embedder, qwen], ids=["cross-encoder", "embedding model", "template"])
async def test_what_the_model_did_not_read_did_not_decide(build: Build, maker: Any) -> None:
    document = sentences(7, 200)
    async with engine(build(maker)) as backend:
        ranking = await backend.rerank(request(documents=[document, DOCUMENTS[0]], return_spans=True))
        assert (ranking.details or {})["truncated_documents"] == 1
        assert ranking.spans is not None
        (span,) = ranking.spans[0]
        beginning = await backend.rerank(request(documents=[document[: span.end]]))
        assert (beginning.details or {})["truncated_documents"] == 0
        assert 0 < span.end < len(document)


async def test_where_the_queue_has_no_room_the_ranking_comes_without(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine(build(bert)) as backend:
        admit, asked = backend._admit, []  # type: ignore[attr-defined]

        def full(size: int) -> None:
            asked.append(size)
            if len(asked) > 1:
                raise backend._overloaded(9)  # type: ignore[attr-defined]
            admit(size)

        monkeypatch.setattr(backend, "_admit", full)
        ranking = await backend.rerank(request(documents=DOCUMENTS, return_spans=True))
    assert len(ranking.results) == len(DOCUMENTS)
    assert (ranking.spans, ranking.warnings) == (None, (engine_module.NO_ROOM_FOR_SPANS,))


async def test_more_results_than_are_looked_into_are_told(build: Build) -> None:
    async with engine(build(embedder)) as backend:
        ranking = await backend.rerank(request(documents=[DOCUMENTS[1]] * (MAX_DOCUMENTS + 1), return_spans=True))
    assert len(ranking.spans or {}) == MAX_DOCUMENTS
    assert ranking.warnings == (engine_module.FEWER_SPANS,)


async def test_pairs_are_scored_without(build: Build) -> None:
    async with engine(build(bert)) as backend:
        ranking = await backend.rerank(request(documents=DOCUMENTS, return_spans=True, queries=["wing"]))
    assert ranking.spans is None
