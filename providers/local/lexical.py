"""The lexical term: how far a document holds the words of a query, added to the score that a model gives.

It is BM25's share of what a document could reach at most, over word pieces: the sum over the query's distinct pieces of
idf * tf / (tf + K1 * (1 - B + B * length / MEAN_TOKENS)), divided by the sum of their idf; from 0 to below 1. It looks
at one pair only. Other documents of a request, and their order, change nothing, so scores stay comparable.

How rare a piece is, is read off the vocabulary, which lists pieces by how often they occurred in its training. That
they fall off by Zipf's law gives the idf. Source of BM25: S. Robertson and H. Zaragoza, The Probabilistic Relevance
Framework, 2009. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from providers.errors import NotReady
from providers.local.control_tokens import DELIMITED
from providers.local.embedded_text import Ids, as_array
from providers.spec import LocalModel

K1, B, MEAN_TOKENS = 1.2, 0.75, 150
"""BM25's usual constants. The mean length is a constant, or a document's score would depend on the others."""

COMMON_PIECES = 15
"""The most frequent pieces, which nearly every text of MEAN_TOKENS holds: by Zipf's law rank r is about 0.1 / r
of a text. Among them ranks tell little."""

CONTINUATION, BEGINNINGS = "##", ("\N{LOWER ONE EIGHTH BLOCK}", "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}")
"""WordPiece marks a piece that goes on with a word, SentencePiece and byte-level BPE one that begins a word."""

CONTINUATION_SHARE = 0.5
"""A word in pieces is still one word: what goes on counts half. From 0.25 to 0.75 it ranks alike."""

COSINE_UNIT, LOGIT_UNIT = 1.0, 10.0
"""What a share of 1 adds at a weight of 1. A cross-encoder's logits spread about ten times as wide as cosines."""


class LexicalTerm:
    """Safe for threads.

    Args:
        idf: of each token id; 0 for what is no word.
        weight: how much the term counts.
        unit: what a share of 1 adds to the score at a weight of 1.
    """

    def __init__(self, idf: NDArray[np.float64], weight: float, unit: float) -> None:
        self.weight = weight
        self._idf, self._most = idf, weight * unit

    def score(self, query: Sequence[int], documents: Iterable[Ids]) -> list[float]:
        """What is added to the score of each document, from 0 to below weight * unit.

        Args:
            query: the token ids of the query alone, whole.
            documents: those of each document alone, as far as the model reads it.
        """
        pieces = np.unique(np.asarray(query, dtype=np.int64))
        pieces = pieces[self._idf[pieces] > 0]
        weights = self._idf[pieces] * (self._most / max(float(self._idf[pieces].sum()), 1e-12))
        # Slot 0 counts what is not in the query. Nearly all of these pages are never touched.
        slots = np.zeros(len(self._idf), np.intp)
        slots[pieces] = np.arange(1, len(pieces) + 1)
        return [self._score(slots, weights, as_array(document)) for document in documents]

    @staticmethod
    def _score(slots: NDArray[np.intp], weights: NDArray[np.float64], document: NDArray[np.int32]) -> float:
        counts = np.bincount(slots[document], minlength=len(weights) + 1)[1:]
        return float((weights * (counts / (counts + K1 * (1 - B + B * len(document) / MEAN_TOKENS)))).sum())


def in_mid_text(query: str) -> str:
    """The query to be tokenised for the term. Byte-level BPE spells a word after a space unlike one that begins a text,
    and most words of a document come after a space."""
    return f" {query}"


def lexical_term(tokenizer: Any, settings: LocalModel, unit: float) -> LexicalTerm | None:
    """The term of a model with this tokenizer; None where it is off. Raises NotReady if the vocabulary is unknown."""
    if not settings.lexical:
        return None
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise NotReady("`lexical` needs a fast tokenizer, and the model has none; leave it out")
    vocabulary = backend.get_vocab(with_added_tokens=True)
    added = backend.get_added_tokens_decoder()
    special = {number for number, token in added.items() if token.special}
    return LexicalTerm(vocabulary_idf(vocabulary, set(added), special), settings.lexical, unit)


def vocabulary_idf(vocabulary: dict[str, int], added: set[int], special: set[int]) -> NDArray[np.float64]:
    """The idf of each token id, by its rank among the pieces that are ordered by frequency.

    Control tokens, and the alphabet that stands before those pieces, get 0.

    Args:
        vocabulary: ids by piece.
        added: the ids that were not trained.
        special: those of them that are no words, such as the unknown token.
    """
    words = [number for piece, number in vocabulary.items() if number not in added and _is_word(piece)]
    ranks = np.arange(max(vocabulary.values(), default=-1) + 1, dtype=np.float64) - min(words, default=0)
    idf: NDArray[np.float64] = np.log1p(np.maximum(ranks, 0) / COMMON_PIECES)
    idf[_continuations(vocabulary)] *= CONTINUATION_SHARE
    idf[[number for piece, number in vocabulary.items() if number in special or DELIMITED.fullmatch(piece)]] = 0
    return idf


def _is_word(piece: str) -> bool:
    """Whether it is more than one character, and no control token."""
    for mark in (CONTINUATION, *BEGINNINGS):
        piece = piece.removeprefix(mark)
    return len(piece) > 1 and not DELIMITED.fullmatch(piece)


def _continuations(vocabulary: dict[str, int]) -> list[int]:
    """The ids of pieces that go on with a word, as far as the vocabulary marks either these or the others."""
    marked = [number for piece, number in vocabulary.items() if piece.startswith(CONTINUATION)]
    beginning = {number for piece, number in vocabulary.items() if piece.startswith(BEGINNINGS)}
    # Two number signs are a word to other vocabularies, and one of WordPiece may hold the other marks as characters.
    if len(marked) >= len(beginning):
        return marked
    return [number for number in vocabulary.values() if number not in beginning]
