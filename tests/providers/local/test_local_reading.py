"""What tokenising may cost: as much as the model reads, and nothing once nobody waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_models import QUERY, WINDOW, bert, byte_level, embedder, engine, qwen, request, scores, unigram, wordpiece

from providers.errors import NotReady, RerankError, Unsupported
from providers.local import reading
from providers.local.engine import LongDocuments, TextRequest
from providers.local.queue import FairQueue, Job
from providers.local.reading import (
    MAX_CHARACTERS_PER_TOKEN,
    MAX_SLICE_CHARACTERS,
    MAX_WORD_CHARACTERS,
    SPARE_TOKENS,
    Reading,
    prefix,
    tokenize_as_read,
)
from providers.local.tokens import Tokens

Build = Callable[..., Path]
MANY = 60_000
"""Characters: far more than any limit below lets through."""

TEXTS: dict[str, str] = {
    "sentences": "Lift of the wing, in flow past a plate. " * (MANY // 40),
    "no white space": "wing" * (MANY // 4),
    "emoji": "\N{ROCKET}\N{FIRE}" * (MANY // 2),
    "Chinese": "风洞试验中的机翼升力。" * (MANY // 11),
    "lines of code": "def f(x):\n\n        return  {x: 1}\n" * (MANY // 33),
    "long words": f"{'drag' * 40} " * (MANY // 161),
    "marks that combine": "e\N{COMBINING ACUTE ACCENT}a " * (MANY // 4),
    "white space first": " \n\t" * 500 + "shock and heat in the layer " * (MANY // 28),
    "short": "the wing",
}
TOKENIZERS = {"WordPiece": wordpiece, "Unigram": unigram, "byte-level BPE": byte_level}


class Counted:
    """A tokenizer's `encode`, and how many characters it was given."""

    def __init__(self, tokenizer: Any) -> None:
        self.backend = tokenizer.backend_tokenizer
        self.backend.no_truncation()
        self.characters = 0
        self.calls: list[int] = []

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        self.calls.append(sum(map(len, texts)))
        self.characters += self.calls[-1]
        return [one.ids for one in self.backend.encode_batch(list(texts), add_special_tokens=False)]


@pytest.mark.parametrize("limit", [1, 40, 700])
@pytest.mark.parametrize("maker", TOKENIZERS.values(), ids=TOKENIZERS)
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_is_read_is_what_tokenising_all_of_it_would_give(text: str, maker: Any, limit: int) -> None:
    tokenize = Counted(maker())
    read = tokenize_as_read(tokenize, [text, "heat"], Reading(limit, limit))
    whole = tokenize([text])[0]
    if read.cut and len(read.rows[0]) < limit:
        assert len(prefix(text, (limit + SPARE_TOKENS) * MAX_CHARACTERS_PER_TOKEN // 2)) < len(text)
    else:
        assert read.rows[0][:limit] == whole[:limit]
    assert read.rows[1] == tokenize(["heat"])[0]
    assert read.cut <= {0}
    assert bool(read.cut) or read.rows[0] == whole


WORTHLESS: dict[str, str] = {
    "spaces": " " * 3_000_000,
    "one word": "a" * 3_000_000,
    "line ends": "\n" * 3_000_000,
    "sentences": "the wing " * 330_000,
    "what becomes nothing": "\N{ZERO WIDTH SPACE}" * 3_000_000,
    "emoji": "\N{ROCKET}" * 3_000_000,
}


@pytest.mark.parametrize("text", WORTHLESS.values(), ids=WORTHLESS)
def test_a_text_of_any_length_costs_what_the_limit_allows(text: str) -> None:
    tokenize = Counted(wordpiece())
    read = tokenize_as_read(tokenize, [text] * 3, Reading(WINDOW, WINDOW))
    assert read.cut == {0, 1, 2}
    assert tokenize.characters <= 3 * 2 * MAX_CHARACTERS_PER_TOKEN * (WINDOW + SPARE_TOKENS)


def test_without_a_limit_all_is_read_in_slices_with_a_check_before_each() -> None:
    tokenize, checks = Counted(wordpiece()), []
    texts = ["the wing " * 20_000] * 7
    read = tokenize_as_read(tokenize, texts, Reading(WINDOW, None, lambda: checks.append(1)))
    assert not read.cut
    assert len(checks) == len(tokenize.calls) == 7
    assert max(tokenize.calls) <= MAX_SLICE_CHARACTERS
    assert all(len(row) == len(read.rows[0]) > 1000 for row in read.rows)


PREFIXES: dict[str, tuple[str, int | None, str]] = {
    "short enough": ("a b", 3, "a b"),
    "no limit": ("a b", None, "a b"),
    "at white space": ("aa bb cc", 7, "aa bb"),
    "a word is not cut": ("aa bbbb", 5, "aa"),
    "but the only one": ("aaaa", 2, "aa"),
    "white space alone": ("    ", 2, ""),
    "white space at the end": ("a    b", 4, "a"),
    "at white space, far inside": ("a" * 900 + " bb cc", 905, "a" * 900 + " bb"),
    "no white space for long": ("a b" + "c" * 900, 600, "a b" + "c" * 597),
    "white space for long": ("a" + " " * 900, 600, "a" + " " * (600 - MAX_WORD_CHARACTERS - 1)),
}


@pytest.mark.parametrize(("text", "characters", "expected"), PREFIXES.values(), ids=PREFIXES)
def test_prefix(text: str, characters: int | None, expected: str) -> None:
    assert prefix(text, characters) == expected


MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "cross-encoder": (bert, {}),
    "template": (qwen, {}),
    "embeddings": (embedder, {}),
    "cross-encoder, documents in windows": (bert, {"long_documents": "chunk_max"}),
    "template, documents in windows": (qwen, {"long_documents": "chunk_max"}),
}


@pytest.mark.parametrize(("maker", "settings"), MODELS.values(), ids=MODELS)
async def test_scores_are_those_of_texts_tokenised_whole(
    build: Build, maker: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Words longer than 100 letters are one unknown token to WordPiece: fewer tokens than are looked for.
    documents = [text for name, text in TEXTS.items() if name != "long words"] if not settings else ["a b " * 900]
    async with engine(build(maker), **settings) as backend:
        read = await backend.rerank(request(documents=documents, max_tokens_per_doc=2000))
        monkeypatch.setattr(reading, "FIRST_CHARACTERS_PER_TOKEN", 1 << 20)
        monkeypatch.setattr(reading, "MAX_CHARACTERS_PER_TOKEN", 1 << 20)
        whole = await backend.rerank(request(documents=documents, max_tokens_per_doc=2000))
    assert scores(read) == pytest.approx(scores(whole), abs=1e-5)
    assert read.details is not None
    assert whole.details is not None
    # One long word is a single unknown token to WordPiece; cut, it is the same token, of a part of the document.
    assert read.details["truncated_documents"] >= whole.details["truncated_documents"]


@pytest.mark.parametrize(
    "query", ["wing " * 400_000, " " * 10**6 + "x", "\N{ROCKET}" * 10**6, "a" * 10**6 + " b", "wing " * 200]
)
@pytest.mark.parametrize("maker", [bert, qwen, embedder], ids=lambda maker: maker.__name__)
async def test_a_query_that_cannot_fit_is_refused_before_any_document_costs_anything(
    build: Build, maker: Any, query: str
) -> None:
    async with engine(build(maker)) as backend:
        start = time.process_time()
        with pytest.raises(Unsupported, match=r"(?s)query.*too long|query is longer"):
            await backend.rerank(request(query, ["the wing " * 300_000] * 30))
        assert time.process_time() - start < 5, "whole, it takes 30 seconds of computing"


@pytest.mark.parametrize("maker", [bert, qwen, embedder], ids=lambda maker: maker.__name__)
async def test_a_cancelled_request_gives_its_thread_back(build: Build, maker: Any) -> None:
    """Five requests of which each would tokenise for long; all are cancelled, and the next is served."""
    documents = ["the wing in flow " * 4_000] * 300
    async with engine(build(maker), long_documents="chunk_max", queue_tokens=10**9) as backend:
        asked = [asyncio.create_task(backend.rerank(request(documents=documents))) for _ in range(5)]
        await asyncio.sleep(0)
        start = time.process_time()
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        assert (await backend.rerank(request(QUERY, ["heat"]))).results
        assert time.process_time() - start < 5, "one of them takes longer"


def test_a_check_that_raises_ends_the_tokenising() -> None:
    tokenize, left = Counted(wordpiece()), [0, 0, 0]

    def check() -> None:
        if not left:
            raise NotReady("over")
        left.pop()

    with pytest.raises(RerankError, match="over"):
        tokenize_as_read(tokenize, ["the wing " * 30_000] * 9, Reading(WINDOW, None, check))
    assert len(tokenize.calls) == 3


ESTIMATES: dict[str, tuple[int, list[int], int | None, LongDocuments, int]] = {
    "short texts": (40, [40, 80], None, "truncate", 20 + 30),
    "cut at the window": (40, [4_000_000], None, "truncate", 100),
    "cut at the caller's limit": (40, [4_000], 7, "truncate", 17),
    "a query longer than the window": (4_000, [40, 40], None, "truncate", 200),
    "in windows, all of it": (40, [4_000], None, "chunk_max", 1000 + 10 * 12),
    "in windows, the caller's limit": (40, [4_000], 90, "chunk_max", 90 + 10),
    "in windows, a short one": (40, [40], None, "chunk_max", 20),
    "in windows, a query longer than one": (4_000, [40], None, "chunk_max", 10 + 99 * 10),
}


@pytest.mark.parametrize(("query", "documents", "limit", "long", "expected"), ESTIMATES.values(), ids=ESTIMATES)
def test_the_estimate_counts_what_is_read(
    query: int, documents: list[int], limit: int | None, long: LongDocuments, expected: int
) -> None:
    text = TextRequest("q" * query, ["d" * size for size in documents], limit, None, 0)
    assert text.estimate_tokens(100, long) == expected


APPENDED: dict[str, tuple[list[int], list[int], bool]] = {
    "an empty queue takes any request": ([], [500], True),
    "what fits": ([60], [40], True),
    "one token too many": ([60], [41], False),
    "what waits already costs nothing": ([60], [60, 40], True),
    "the same text twice counts once": ([60], [40, 40], True),
}


@pytest.mark.parametrize(("waiting", "new", "taken"), APPENDED.values(), ids=APPENDED)
def test_the_queue_takes_what_fits_by_its_real_size(waiting: list[int], new: list[int], taken: bool) -> None:
    queue = FairQueue()
    if waiting:
        queue.append(Job(lambda *_: None), [Tokens([1] * size) for size in waiting])
    before = queue.tokens
    assert queue.append(Job(lambda *_: None), [Tokens([1] * size) for size in new], max_tokens=100) is taken
    assert taken or queue.tokens == before
    assert taken or len(queue._jobs) == 1
