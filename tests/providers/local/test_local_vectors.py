"""Vectors of texts seen before: computed once, bounded in memory, and the scores are the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import DOCUMENTS, bert, embedder, engine, request, scores, text

from providers.errors import NotReady
from providers.local.embedded_text import ENTRY_BYTES, EmbeddedText, as_array
from providers.local.engine import Engine
from providers.local.loading import load
from providers.local.vector_cache import VectorCache, text_keys
from providers.spec import LocalModel
from providers.types import Ranking

Build = Callable[..., Path]

ENTRY = ENTRY_BYTES + 4 * 10


def embedded(name: str, windows: int = 1) -> EmbeddedText:
    vectors = np.zeros((windows, 10), np.float32)
    return EmbeddedText(name.encode(), as_array(()), truncated=False, tokens=1, vectors=vectors)


CALLS: dict[str, tuple[float, list[str], str]] = {
    "all that fits stays": (3, ["+a", "+b", "+c"], "abc"),
    "the longest unused leaves": (2, ["+a", "+b", "+c"], "bc"),
    "a hit counts as use": (2, ["+a", "+b", "?a", "+c"], "ac"),
    "a miss does not": (2, ["+a", "?x", "+b", "+c"], "bc"),
    "the same again takes no more room": (2, ["+a", "+a", "+b", "+a"], "ab"),
    "one byte too many": (1.999, ["+a", "+b"], "b"),
    "nothing is kept": (0, ["+a"], ""),
}


@pytest.mark.parametrize(("room", "calls", "kept"), CALLS.values(), ids=CALLS)
def test_the_cache_is_bounded_and_the_longest_unused_leaves(room: float, calls: list[str], kept: str) -> None:
    cache = VectorCache(int(room * ENTRY))
    for call in calls:
        if call[0] == "+":
            cache.keep([embedded(call[1])])
        else:
            cache.find([call[1].encode()])
        assert cache.bytes <= cache.max_bytes
    assert "".join(name for name in "abcx" if cache.find([name.encode()])[0]) == kept
    assert cache.bytes == len(kept) * ENTRY


def test_a_text_larger_than_the_cache_drives_nothing_out() -> None:
    cache = VectorCache(2 * ENTRY)
    cache.keep([embedded("a"), embedded("b", windows=100)])
    assert [found is not None for found in cache.find([b"a", b"b"])] == [True, False]
    assert (cache.hits, cache.misses, cache.bytes) == (1, 1, ENTRY)


def test_threads_leave_it_whole() -> None:
    cache = VectorCache(20 * ENTRY)

    def work(seed: int) -> None:
        for number in range(300):
            name = str((number * seed) % 50)
            found = cache.find([name.encode()])[0]
            assert found is None or found.key == name.encode()
            cache.keep([embedded(name)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, (1, 3, 7, 11)))
    assert cache.hits + cache.misses == 4 * 300
    left = sum(found is not None for found in cache.find([str(number).encode() for number in range(50)]))
    assert cache.bytes == left * ENTRY <= cache.max_bytes


KEYS: dict[str, tuple[str, str, int | None, str | None]] = {
    "plain": ("wing", "document", None, None),
    "another text": ("Wing", "document", None, None),
    "a query": ("wing", "query", None, None),
    "a limit": ("wing", "document", 2, None),
    "another limit": ("wing", "document", 22, None),
    "an instruction": ("wing", "document", None, "find"),
    "an instruction that spells the end of the prefix": ("wing", "document", None, "find')wing"),
    "a text that spells an instruction": ("'find')wing", "document", None, None),
    "half a character": ("wing\ud83d", "document", None, None),
}


def test_texts_have_one_key_only_if_they_are_read_alike() -> None:
    keys = {name: text_keys([text], *how)[0] for name, (text, *how) in KEYS.items()}
    for first, second in combinations(keys, 2):
        assert keys[first] != keys[second], (first, second)
    assert text_keys(["a", "b", "a"], "document", 5, None)[::2] == text_keys(["a"], "document", 5, None) * 2


def usage(ranking: Ranking) -> int:
    assert ranking.usage is not None
    assert ranking.usage.total_tokens == ranking.usage.prompt_tokens
    return ranking.usage.prompt_tokens or 0


def detail(ranking: Ranking, name: str) -> Any:
    return (ranking.details or {})[name]


SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "prompts left out by pooling": ({"include_prompt": False}, {}),
    "in windows": ({}, {"long_documents": "chunk_max"}),
    "with the lexical term": ({}, {"lexical": 1.0}),
    "in windows with the lexical term": ({}, {"long_documents": "chunk_max", "lexical": 1.0}),
}


@pytest.mark.parametrize(("options", "settings"), SETTINGS.values(), ids=SETTINGS)
async def test_a_second_run_computes_nothing_and_scores_the_same(build: Build, options: Any, settings: Any) -> None:
    folder, documents = build(embedder, **options), [*DOCUMENTS, DOCUMENTS[0], text(500, 5)]
    async with engine(folder, **settings) as backend, engine(folder, **settings, vector_cache_bytes=0) as plain:
        assert isinstance(backend, Engine)
        first = await backend.rerank(request(documents=documents))
        computed = backend.stats().tokens
        second = await backend.rerank(request(documents=documents))
        computed_again = backend.stats().tokens - computed
        uncached = await plain.rerank(request(documents=documents))
        mixed = await backend.rerank(request("another query", ["new " + text(30, 7), *documents[::-1]]))
        other = await plain.rerank(request("another query", ["new " + text(30, 7), *documents[::-1]]))
    assert scores(second) == scores(first) == pytest.approx(scores(uncached), abs=1e-6)
    assert scores(mixed) == pytest.approx(scores(other), abs=1e-6)
    assert usage(second) == usage(first) == usage(uncached)
    assert usage(mixed) == usage(other)
    assert (computed, computed_again) == (usage(uncached), 0)
    assert detail(second, "truncated_documents") == detail(first, "truncated_documents")
    counts = [detail(ranking, "cached_documents") for ranking in (first, second, mixed)]
    assert counts == [0, len(documents), len(documents)]
    assert "cached_documents" not in (uncached.details or {})


async def test_a_document_cut_elsewhere_is_another(build: Build) -> None:
    documents = [text(60, seed) for seed in range(3)]
    limits = (None, 5, 6, 5, 10**6, None)
    folder = build(embedder)
    async with engine(folder) as backend, engine(folder, vector_cache_bytes=0) as plain:
        asked = [request(documents=documents, max_tokens_per_doc=limit) for limit in limits]
        rankings = [await backend.rerank(one) for one in asked]
        expected = [await plain.rerank(one) for one in asked]
    # A limit beyond the window cuts nothing more.
    assert [detail(ranking, "cached_documents") for ranking in rankings] == [0, 0, 0, 3, 3, 3]
    for ranking, uncached in zip(rankings, expected, strict=True):
        assert scores(ranking) == pytest.approx(scores(uncached), abs=1e-6)
        assert detail(ranking, "truncated_documents") == detail(uncached, "truncated_documents")


async def test_requests_at_once_share_what_is_kept(build: Build) -> None:
    async with engine(build(embedder), vector_cache_bytes=20_000) as backend:
        alone = scores(await backend.rerank(request()))
        asked = [request(documents=DOCUMENTS[number:]) for number in range(12)]
        rankings = await asyncio.gather(*map(backend.rerank, asked * 3))
        assert isinstance(backend, Engine)
        stats = backend.stats()
    for number, ranking in enumerate(rankings):
        assert scores(ranking) == pytest.approx(alone[number % 12 :], abs=1e-6)
    assert 0 < stats.vector_bytes <= 20_000
    looked_up = sum(len(one.documents) + 1 for one in (request(), *asked * 3))
    assert stats.vector_hits + stats.vector_misses == looked_up
    assert stats.vector_hits > 0


async def test_a_refused_query_and_a_cancelled_request_leave_nothing_behind(build: Build) -> None:
    async with engine(build(embedder)) as backend:
        assert isinstance(backend, Engine)
        waiting = asyncio.create_task(backend.rerank(request()))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        first = await backend.rerank(request())
        assert scores(first) == scores(await backend.rerank(request()))


def test_a_kept_vector_keeps_no_batch_alive(build: Build) -> None:
    loaded = load(LocalModel(name="m", path=str(build(embedder)), device="cpu", dtype="float32"))
    kept: list[EmbeddedText] = []
    loaded.cache.keep = kept.extend  # type: ignore[method-assign, union-attr, assignment]
    encoded = loaded.encode(_text_request(["wing", "flow"]), lambda: None)
    rows = loaded.collect(loaded.launch(encoded.inputs[:1])) * 3
    loaded.scores(rows, encoded)
    assert [one.vectors.base is None for one in kept if one.vectors is not None] == [True] * 3


def _text_request(documents: list[str]) -> Any:
    from providers.local.engine import TextRequest

    return TextRequest("q", documents, None, None, 0)


async def test_usage_counts_what_repeats_once_whether_it_is_kept_or_not(build: Build) -> None:
    documents = ["wing " * 400, "wing " * 400, "wing"]
    async with engine(build(embedder), long_documents="chunk_max") as backend:
        first, second = [await backend.rerank(request("lift", documents)) for _ in range(2)]
    assert usage(second) == usage(first) < 400


def test_a_cross_encoder_has_no_vectors_to_keep(build: Build) -> None:
    with pytest.raises(NotReady, match="leave `vector_cache_bytes` out"):
        load(LocalModel(name="m", path=str(build(bert)), device="cpu", vector_cache_bytes=1000))
